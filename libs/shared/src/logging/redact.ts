const HIDDEN = '[redacted]';

/**
 * Secrets have shapes: they are found wherever they stand in a line of the log, also inside messages of other
 * libraries. No pattern is anchored at a word's beginning: in JSON the letter before may be the n of a line break.
 */
const RULES: readonly (readonly [RegExp, string])[] = [
  // The fields of a JSON line that hold nothing but a secret.
  [
    /("(?:proxy-)?(?:authorization|x-api-key|cookie|set-cookie|password|secret|token)"\s*:\s*)"(?:[^"\\]|\\.)*"/gi,
    `$1"${HIDDEN}"`,
  ],
  // An API key; its id stays, so that one can tell whose it was.
  [/(lh_[A-Za-z0-9]{6,}_)[A-Za-z0-9_-]{8,}/g, `$1${HIDDEN}`],
  [/(whsec_)[A-Za-z0-9+/=_-]+/g, `$1${HIDDEN}`],
  [/((?:Bearer|Basic) )[A-Za-z0-9._~+/=-]{8,}/gi, `$1${HIDDEN}`],
  // Name and password in a URL such as amqp://user:pass@host. Not begun with the scheme: looking for that at every
  // letter of a long word takes the square of its length.
  [/(:\/\/)[^\s/"'?#\\]+@/g, `$1${HIDDEN}@`],
  // Settings and queries such as password=x and X-Amz-Signature=x.
  [/((?:password|passwd|secret|token|signature)=)[^\s&"'\\]+/gi, `$1${HIDDEN}`],
];

/** The text without API keys, webhook secrets, authorization headers, and credentials of URLs. */
export function redact(text: string): string {
  return RULES.reduce((line, [secret, replacement]) => line.replace(secret, replacement), text);
}
