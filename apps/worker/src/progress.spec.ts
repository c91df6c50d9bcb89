import { mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProgressFollower, parseProgress, type ProgressMark } from './progress.js';

describe('progress', () => {
  it.each([
    ['42 minimising', { percent: 42, message: 'minimising' }],
    ['10\n20 docking of 3\n', { percent: 20, message: 'docking of 3' }],
    ['99.5%', { percent: 99.5 }],
    ['140 done', { percent: 100, message: 'done' }],
    ['5 early\nnot a mark', { percent: 5, message: 'early' }],
  ])('reads %p', (text, mark) => expect(parseProgress(text)).toEqual(mark));

  it.each(['', 'done', '-5', '42minimising', '1e3'])('finds no mark in %p', (text) =>
    expect(parseProgress(text)).toBeUndefined(),
  );

  describe('in a file', () => {
    let folder: string;
    let file: string;
    let told: ProgressMark[];
    let follower: ProgressFollower;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'labhand-progress-'));
      file = join(folder, 'progress');
      told = [];
      follower = new ProgressFollower(file, (mark) => told.push(mark));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it('is told when it changes, and only then', () => {
      follower.look();
      writeFileSync(file, '1 a\n');
      follower.look();
      follower.look();
      writeFileSync(file, `${'1 a\n'.repeat(5000)}2 b\n`);
      follower.look();
      expect(told).toEqual([
        { percent: 1, message: 'a' },
        { percent: 2, message: 'b' },
      ]);
    });

    it('is not read through a link', () => {
      const other = join(folder, 'other');
      writeFileSync(other, '7 secret\n');
      symlinkSync(other, file);
      follower.look();
      expect(told).toEqual([]);
      unlinkSync(file);
      writeFileSync(file, '8\n');
      follower.look();
      expect(told).toEqual([{ percent: 8 }]);
    });
  });
});
