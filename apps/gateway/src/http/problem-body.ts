import { redact } from '#shared/logging/redact.js';
import type { Problem } from './problem.js';

export const PROBLEM_TYPE = 'application/problem+json';

/**
 * RFC 9457. `instance` is the id of the request: as a relative reference it names this occurrence, and the log knows
 * it. Redacted, since sentences may quote what the client sent.
 */
export function problemBody(problem: Problem, requestId: string): string {
  return redact(
    JSON.stringify({
      type: `urn:labhand:problem:${problem.code}`,
      title: problem.title,
      status: problem.status,
      detail: problem.detail,
      code: problem.code,
      instance: requestId,
      errors: problem.errors,
    }),
  );
}
