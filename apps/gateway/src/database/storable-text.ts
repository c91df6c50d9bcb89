import type { FieldError } from '../http/problem.js';

/** Postgres keeps neither NUL nor half a surrogate pair in text or jsonb, and refuses the whole statement. */

/** Where such texts stand in `value`, with the remedy. */
export function textFaults(value: unknown, path = ''): FieldError[] {
  if (typeof value === 'string') {
    if (value.includes('\0')) return [{ path, message: 'the text holds a NUL character; remove it' }];
    if (isWellFormed(value)) return [];
    return [{ path, message: 'the text holds half of a character (a lone UTF-16 surrogate); remove it' }];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => textFaults(inner, path ? `${path}.${name}` : name));
}

/** The text without what cannot be kept, for texts whose author is no more to be asked. */
export function storable(text: string): string {
  return text.replace(/\0|\p{Cs}/gu, '\ufffd');
}

/** With the flag `u` a pair counts as one character, so only halves are of the category of surrogates. */
function isWellFormed(text: string): boolean {
  return !/\p{Cs}/u.test(text);
}
