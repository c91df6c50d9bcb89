import { createHash, randomBytes } from 'node:crypto';

/** `lh_<id>_<secret>`: the id names the key in the table and in logs, the secret proves that one has it. */
export interface ApiKey {
  readonly id: string;
  readonly secret: string;
}

export const KEY_FORM = 'lh_, 12 letters or digits, _, and 32 to 128 letters, digits, dashes or underscores';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_LENGTH = 12;
/** 62^43 is more than 2^256. */
const SECRET_LENGTH = 43;

export function makeApiKey(): ApiKey {
  return { id: randomText(ID_LENGTH), secret: randomText(SECRET_LENGTH) };
}

export function formatApiKey({ id, secret }: ApiKey): string {
  return `lh_${id}_${secret}`;
}

/** Undefined when the text does not have the form of a key. */
export function parseApiKey(text: string): ApiKey | undefined {
  const match = /^lh_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{32,128})$/.exec(text);
  return match ? { id: match[1]!, secret: match[2]! } : undefined;
}

/**
 * What the table keeps of a secret. One round of SHA-256 is right here: the secret is random and as long as the hash,
 * so there is nothing that guessing could shorten, and a slow hash would only slow every request.
 */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function randomText(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      // Bytes above the last whole multiple of the alphabet would make its first letters likelier.
      if (byte < 248 && text.length < length) text += ALPHABET[byte % ALPHABET.length];
    }
  }
  return text;
}
