import { jobSpec } from './job-spec.js';

const withSecret = (secret: string) =>
  jobSpec.safeParse({ callback: { url: 'https://example.org/hook', secret } }).success;
const secretOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 0xa5).toString('base64')}`;

describe('the secret of a callback', () => {
  it.each([24, 25, 32, 64])('may have %d bytes', (bytes) => expect(withSecret(secretOf(bytes))).toBe(true));
  it.each([0, 23, 65, 66])('may not have %d bytes', (bytes) =>
    expect(withSecret(secretOf(bytes))).toBe(false),
  );
  it.each([
    secretOf(32).slice('whsec_'.length),
    secretOf(25).replace(/=+$/, ''),
    secretOf(32).replace('p', '-'),
    ` ${secretOf(32)}`,
  ])('is refused in another form (%#)', (secret) => expect(withSecret(secret)).toBe(false));
});
