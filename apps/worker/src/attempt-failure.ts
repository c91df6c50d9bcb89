import type { FailReason } from '#shared/job/job-state.js';

/** A step of an attempt failed in a way that is an outcome of the job, told in a whole sentence. */
export class AttemptFailure extends Error {
  constructor(
    readonly reason: FailReason,
    message: string,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** The rest of a sentence after a colon, with its full stop and the system's error name where there is one. */
export function because(error: unknown): string {
  const { message, code, cause } = error as NodeJS.ErrnoException & { cause?: { code?: string } };
  const name = code ?? cause?.code;
  const told = message.replace(/\.$/, '');
  return name === undefined || told.includes(name) ? `${told}.` : `${told} (${name}).`;
}
