import { readFileSync } from 'node:fs';
import { VERSION } from './version.js';

test('programs tell the version of the package', () => {
  expect(VERSION).toBe(JSON.parse(readFileSync('package.json', 'utf8')).version);
});
