import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHUNK_BYTES } from '#shared/messages/messages.js';
import { LiveBudget } from './live-budget.js';
import { LogFollower, type Chunk, type SendChunk } from './log-follower.js';

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

  const take: SendChunk = async (chunk) => {
    chunks.push(chunk);
    return true;
  };
  const follow = (limit: number, send = take, keepFull = false) =>
    new LogFollower(file, send, { limit, keepFull, budget: new LiveBudget(), onLimit: () => hits++ });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const lookOften = async (follower: LogFollower, times: number) => {
    for (let n = 0; n < times; n++) {
      follower.look();
      await turn();
    }
  };

  it('sends what is new with its place in the stream', async () => {
    const follower = follow(1000);
    follower.look();
    writeFileSync(file, 'one ');
    await lookOften(follower, 1);
    appendFileSync(file, 'two');
    await lookOften(follower, 2);
    expect(follower.finish()).toEqual({ bytes: 7, cut: false });
    expect(chunks.map(({ offset, data }) => [offset, data.toString()])).toEqual([
      [0, 'one '],
      [4, 'two'],
    ]);
  });

  it('goes on sending when the command is over, until it is closed', async () => {
    const follower = follow(2 ** 30);
    const whole = Buffer.alloc(700_000, 'abcdefg');
    writeFileSync(file, whole);
    follower.finish();
    await lookOften(follower, 20);
    expect(Buffer.concat(chunks.map(({ data }) => data)).equals(whole)).toBe(true);
    expect(Math.max(...chunks.map(({ data }) => data.length))).toBe(CHUNK_BYTES);
    appendFileSync(file, 'of somebody who lives on');
    await lookOften(follower, 1);
    follower.close();
    await lookOften(follower, 1);
    expect(Buffer.concat(chunks.map(({ data }) => data)).equals(whole)).toBe(true);
  });

  it('jumps ahead when it is far behind, and says how much it left out', async () => {
    const follower = follow(2 ** 30);
    writeFileSync(file, 'begin');
    await lookOften(follower, 1);
    appendFileSync(file, Buffer.alloc(5_000_000));
    await lookOften(follower, 1);
    const [first, second] = chunks;
    expect(first).toMatchObject({ offset: 0, skipped: 0 });
    expect(second!.offset + second!.data.length).toBe(5_000_005);
    expect(second!.skipped).toBe(second!.offset - 5);
  });

  it('sends no second chunk while the first is under way, and again what could not be sent', async () => {
    let settle: (sent: boolean) => void = () => {};
    const sent: string[] = [];
    const follower = follow(1000, ({ offset, data }) => {
      sent.push(`${offset} ${data.toString()}`);
      return new Promise((resolve) => (settle = resolve));
    });
    writeFileSync(file, 'a');
    follower.look();
    appendFileSync(file, 'b');
    follower.look();
    expect(sent).toEqual(['0 a']);
    settle(false);
    await turn();
    follower.look();
    expect(sent).toEqual(['0 a', '0 ab']);
  });

  it('leaves what is beyond the limit in the file where that is kept', async () => {
    const follower = follow(10, take, true);
    writeFileSync(file, 'x'.repeat(25));
    await lookOften(follower, 2);
    expect(follower.finish()).toEqual({ bytes: 10, cut: true });
    expect([hits, readFileSync(file).length]).toEqual([1, 25]);
    expect(chunks.map(({ data }) => data.toString())).toEqual(['x'.repeat(10)]);
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
