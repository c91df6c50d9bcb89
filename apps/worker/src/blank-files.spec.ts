import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlankFiles } from './blank-files.js';

let folder: string;
let blanks: BlankFiles;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'labhand-blank-'));
  blanks = new BlankFiles(join(folder, 'blank'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const inode = (file: string) => statSync(file).ino;

it('a file that stayed empty is used again', () => {
  const [one, other] = [join(folder, 'one'), join(folder, 'other')];
  blanks.place(one);
  const { ino } = statSync(one);
  blanks.remove(one);
  expect(statSync(one, { throwIfNoEntry: false })).toBeUndefined();
  blanks.place(other);
  expect(inode(other)).toBe(ino);
});

it('what was written is never found in the next file', () => {
  const file = join(folder, 'file');
  blanks.place(file);
  writeFileSync(file, 'said');
  blanks.remove(file);
  blanks.place(file);
  expect(readFileSync(file, 'utf8')).toBe('');
});

it('a file that is there is not replaced', () => {
  const [file, other] = [join(folder, 'file'), join(folder, 'other')];
  blanks.place(other);
  blanks.remove(other);
  writeFileSync(file, 'mine');
  expect(() => blanks.place(file)).toThrow(file);
  expect(readFileSync(file, 'utf8')).toBe('mine');
});
