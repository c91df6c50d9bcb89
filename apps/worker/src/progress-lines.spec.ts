import { ProgressLines } from './progress-lines.js';
import type { ProgressMark } from './progress.js';

describe('progress among the lines of a log', () => {
  let told: ProgressMark[];
  let lines: ProgressLines;
  beforeEach(() => {
    told = [];
    lines = new ProgressLines((mark) => told.push(mark));
  });
  const read = (text: string, skipped = 0) => lines.read({ data: Buffer.from(text), skipped });

  it('is told with its message, and the last of many counts', () => {
    read('hello\n::progress 10\nwork\n::progress 42 minimising the energy\nmore\n');
    expect(told).toEqual([{ percent: 42, message: 'minimising the energy' }]);
  });

  it('is found where chunks cut a line', () => {
    for (const part of ['::pro', 'gress 1', '2.5 almo', 'st\nnext ', 'line\n']) read(part);
    expect(told).toEqual([{ percent: 12.5, message: 'almost' }]);
  });

  it('is not told before its line is complete', () => {
    read('::progress 4');
    expect(told).toEqual([]);
    read('2\n');
    expect(told).toEqual([{ percent: 42 }]);
  });

  it('begins its line, and has a number', () => {
    read('say ::progress 10\n::progress much\n::progress\n ::progress 3\n');
    expect(told).toEqual([]);
  });

  it('is not made up from the two sides of a gap', () => {
    read('::progress 1');
    read('2\n::progress 7\n', 1000);
    expect(told).toEqual([{ percent: 7 }]);
  });

  it('is not looked for in lines without end', () => {
    read(`::progress 1 ${'x'.repeat(5000)}`);
    read('\n');
    expect(told).toEqual([]);
    read('::progress 2\n');
    expect(told).toEqual([{ percent: 2 }]);
  });
});
