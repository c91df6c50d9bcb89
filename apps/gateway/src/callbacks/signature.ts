import { createHmac, randomBytes } from 'node:crypto';

/**
 * Signing by the rules of Standard Webhooks (https://www.standardwebhooks.com), symmetric scheme `v1`.
 */

const SECRET_PREFIX = 'whsec_';
const NEW_SECRET_BYTES = 32;
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;

export function newSigningSecret(): string {
  return SECRET_PREFIX + randomBytes(NEW_SECRET_BYTES).toString('base64');
}

export interface SignedMessage {
  /** The same on every try of one message; receivers tell repetitions by it. */
  readonly id: string;
  readonly sentAt: Date;
  readonly body: string;
}

/**
 * The headers that go with the message: one signature for each secret, so that receivers who still check
 * with an old one and receivers who already have the new one both find theirs.
 *
 * @throws {Error} a secret is not `whsec_` and 24 to 64 bytes in base64
 */
export function signatureHeaders(message: SignedMessage, secrets: readonly string[]): Record<string, string> {
  const timestamp = Math.floor(message.sentAt.getTime() / 1000);
  const signed = `${message.id}.${timestamp}.${message.body}`;
  return {
    'webhook-id': message.id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': secrets.map((secret) => sign(signed, secret)).join(' '),
  };
}

function sign(text: string, secret: string): string {
  return `v1,${createHmac('sha256', keyOf(secret)).update(text).digest('base64')}`;
}

function keyOf(secret: string): Buffer {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
  if (!secret.startsWith(SECRET_PREFIX) || key.length < MIN_SECRET_BYTES || key.length > MAX_SECRET_BYTES) {
    // The secret itself must not stand in a message that is logged.
    throw new Error(
      `a signing secret is ${SECRET_PREFIX} and ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} random bytes in base64; this one is not`,
    );
  }
  return key;
}
