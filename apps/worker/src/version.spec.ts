import { readFileSync } from 'node:fs';
import { VERSION } from './version.js';

test('the worker tells the version of its package', () => {
  expect(VERSION).toBe(JSON.parse(readFileSync('package.json', 'utf8')).version);
});
