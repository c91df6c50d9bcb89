import { formatApiKey, hashSecret, makeApiKey, parseApiKey } from './api-key.js';
import { hasRole, seesAll, type Viewer } from './viewer.js';

test('a key that is made reads back as its parts', () => {
  const key = makeApiKey();
  expect(formatApiKey(key)).toMatch(/^lh_[A-Za-z0-9]{12}_[A-Za-z0-9]{43}$/);
  expect(parseApiKey(formatApiKey(key))).toEqual(key);
});

test('no two are the same', () => {
  expect(new Set(Array.from({ length: 1000 }, () => makeApiKey().id)).size).toBe(1000);
});

test.each([
  '',
  'lh_',
  'lh_short_x',
  'lh_abcdefghijkl_tooshort',
  `xx_abcdefghijkl_${'a'.repeat(43)}`,
  'a'.repeat(1e6),
])('what does not look like a key is none', (text) => {
  expect(parseApiKey(text)).toBeUndefined();
});

test('the hash is of 32 bytes and differs by secret', () => {
  expect(hashSecret('a')).toHaveLength(32);
  expect(hashSecret('a').equals(hashSecret('b'))).toBe(false);
});

test.each([
  ['submitter', false, false],
  ['operator', true, false],
  ['admin', true, true],
] as const)('a %s sees all jobs: %p, is an admin: %p', (role, all, admin) => {
  const viewer: Viewer = { keyId: 'k', owner: 'o', role };
  expect([seesAll(viewer), hasRole(viewer, 'admin')]).toEqual([all, admin]);
});
