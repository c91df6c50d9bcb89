import { check, type SchemaFault } from '#shared/config/schema-faults.js';
import { z } from 'zod';
import { Problem } from './problem.js';

/**
 * The value as the schema makes it.
 * @param what names the whole in the answer, such as `the job`
 * @throws {Problem} 422 `invalid_request`, with the path and the fault of each field
 */
export function parse<S extends z.core.$ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  return accept<S>(check(schema, value), what);
}

/**
 * Query parameters, which are text; the schema turns them into numbers and the like.
 * @throws {Problem} 422 `invalid_request`, with the name and the fault of each parameter
 */
export function parseQuery<S extends z.core.$ZodType>(schema: S, query: unknown): z.output<S> {
  return accept<S>(check(schema, query ?? {}, 'query parameter'), 'the query');
}

function accept<S extends z.core.$ZodType>(
  { value, faults }: ReturnType<typeof check<S>>,
  what: string,
): z.output<S> {
  if (faults.length === 0) return value as z.output<S>;
  throw new Problem(422, 'invalid_request', summary(what, faults), { errors: faults });
}

function summary(what: string, faults: readonly SchemaFault[]): string {
  const { path, message } = faults[0]!;
  const subject = what.charAt(0).toUpperCase() + what.slice(1);
  const others = faults.length - 1;
  const more = others > 0 ? ` (and ${others} more, see "errors")` : '';
  return `${subject} is not valid: ${path ? `${path}: ` : ''}${message}${more}`;
}
