/** Bytes from `start` up to and with `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * The one span that a `Range` header asks for (RFC 9110, section 14.2): undefined when the whole is to be sent, which
 * is also the answer to several ranges and to units other than bytes; `unsatisfiable` when it lies outside.
 * @param size bytes of the whole
 */
export function parseRange(header: string | undefined, size: number): Span | 'unsatisfiable' | undefined {
  const match = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/.exec(header?.replaceAll(' ', '') ?? '');
  if (!match) return undefined;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    if (size === 0 || Number(suffix) === 0) return 'unsatisfiable';
    return { start: Math.max(0, size - Number(suffix)), end: size - 1 };
  }
  const start = Number(first);
  const end = last ? Math.min(Number(last), size - 1) : size - 1;
  // A last byte before the first makes the header invalid, and an invalid one is ignored.
  if (last && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}
