import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LogFollower } from './log-follower.js';

interface Chunk {
  readonly offset: number;
  readonly data: Buffer;
}

describe('following a log', () => {
  let folder: string;
  let file: string;
  let chunks: Chunk[];
  let hits: number;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'labhand-log-'));
    file = join(folder, 'stdout');
    chunks = [];
    hits = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const follow = (
    limit: number,
    send = async (offset: number, data: Buffer) => void chunks.push({ offset, data }),
  ) => new LogFollower(file, limit, send, () => hits++);
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('sends what is new with its place in the stream', async () => {
    const follower = follow(1000);
    follower.look();
    writeFileSync(file, 'one ');
    follower.look();
    await turn();
    follower.look();
    appendFileSync(file, 'two');
    follower.look();
    expect(follower.finish()).toEqual({ bytes: 7, cut: false });
    expect(chunks.map(({ offset, data }) => [offset, data.toString()])).toEqual([
      [0, 'one '],
      [4, 'two'],
    ]);
  });

  it('sends the whole of a stream in pieces when the command is over', () => {
    const follower = follow(2 ** 30);
    writeFileSync(file, '');
    follower.look();
    const whole = Buffer.alloc(700_000, 'abcdefg');
    writeFileSync(file, whole);
    follower.finish();
    expect(Buffer.concat(chunks.map(({ data }) => data)).equals(whole)).toBe(true);
    expect(Math.max(...chunks.map(({ data }) => data.length))).toBe(256 * 1024);
  });

  it('jumps ahead when it is far behind, and the offset shows the gap', () => {
    const follower = follow(2 ** 30);
    writeFileSync(file, Buffer.alloc(5_000_000));
    follower.look();
    expect(chunks).toHaveLength(1);
    expect(chunks[0]!.offset + chunks[0]!.data.length).toBe(5_000_000);
  });

  it('sends no second chunk while the first is under way, and goes on when one was dropped', async () => {
    let drop: (error: Error) => void = () => {};
    const sent: number[] = [];
    const follower = follow(1000, (offset) => {
      sent.push(offset);
      return new Promise((_resolve, reject) => (drop = reject));
    });
    writeFileSync(file, 'a');
    follower.look();
    appendFileSync(file, 'b');
    follower.look();
    expect(sent).toEqual([0]);
    drop(new Error('no connection'));
    await turn();
    follower.look();
    expect(sent).toEqual([0, 1]);
  });

  it('cuts a file back to its limit as often as it outgrows it, and tells once', () => {
    const follower = follow(10);
    writeFileSync(file, 'x'.repeat(25));
    follower.look();
    appendFileSync(file, 'y'.repeat(25));
    follower.look();
    expect(readFileSync(file, 'utf8')).toBe('x'.repeat(10));
    appendFileSync(file, 'z');
    expect(follower.finish()).toEqual({ bytes: 10, cut: true });
    expect(readFileSync(file, 'utf8')).toBe('x'.repeat(10));
    expect(hits).toBe(1);
    expect(chunks.map(({ data }) => data.toString()).join('')).toBe('x'.repeat(10));
  });

  it('cuts the file of a command that ended before it was looked at', () => {
    writeFileSync(file, 'x'.repeat(25));
    expect(follow(10).finish()).toEqual({ bytes: 10, cut: true });
    expect(hits).toBe(1);
    expect(readFileSync(file)).toHaveLength(10);
  });

  it('knows a command that never wrote', () => {
    expect(follow(10).finish()).toEqual({ bytes: 0, cut: false });
  });
});
