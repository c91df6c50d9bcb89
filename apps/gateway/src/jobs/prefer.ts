/**
 * The `wait` preference of a `Prefer` header (RFC 7240, section 4.3): how many seconds the client would wait.
 * Preferences that are not understood are ignored, as section 2 demands.
 */
export function preferredWait(header: string | string[] | undefined): number | undefined {
  for (const preference of [header ?? []].flat().join(',').split(',')) {
    const match = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;|$)/i.exec(preference);
    if (match) return Number(match[1]);
  }
  return undefined;
}
