import { FollowedStream, type StreamNews } from './followed-stream.js';

const take = (stream: FollowedStream, at: number, data: string | Buffer): StreamNews[] => [
  ...stream.take(at, Buffer.from(data as string)),
];
const text = (at: number, text: string) => ({ event: 'stdout', data: { at, text } });
const gap = (from: number, to: number) => ({ event: 'gap', data: { stream: 'stdout', from, to } });
/** One, two, three and four bytes long. */
const CHARACTERS = 'aé€😀';

describe('an output stream as it is followed', () => {
  it('is told as text, with its place', () => {
    const stream = new FollowedStream('stdout', 0);
    expect([...take(stream, 0, 'ab'), ...take(stream, 2, 'cd')]).toEqual([text(0, 'ab'), text(2, 'cd')]);
  });

  it('is told once where chunks overlap', () => {
    const stream = new FollowedStream('stdout', 0);
    const news = [...take(stream, 0, 'abc'), ...take(stream, 1, 'bcd'), ...take(stream, 0, 'ab')];
    expect(news).toEqual([text(0, 'abc'), text(3, 'd')]);
  });

  it('says where bytes are missing', () => {
    const stream = new FollowedStream('stdout', 0);
    expect([...take(stream, 0, 'ab'), ...take(stream, 10, 'k')]).toEqual([
      text(0, 'ab'),
      gap(2, 10),
      text(10, 'k'),
    ]);
  });

  it('has no character cut in two, wherever chunks end', () => {
    const whole = Buffer.from(CHARACTERS.repeat(3));
    for (let size = 1; size < 9; size++) {
      const stream = new FollowedStream('stdout', 0);
      let all = '';
      for (let at = 0; at < whole.length; at += size) {
        for (const { data } of stream.take(at, whole.subarray(at, at + size))) {
          if (!('text' in data)) throw new Error('it was no text');
          expect(data.at).toBe(Buffer.byteLength(all));
          all += data.text;
        }
        expect(stream.told).toBe(Buffer.byteLength(all));
        expect(stream.end).toBe(Math.min(at + size, whole.length));
      }
      expect(all).toBe(whole.toString());
    }
  });

  it('is base64 where it is no text, and loses no byte', () => {
    const whole = Buffer.from(Array.from({ length: 1024 }, (_, n) => (n * 7) % 256));
    const stream = new FollowedStream('stdout', 0);
    const parts: Buffer[] = [];
    const news: StreamNews[] = [];
    for (let at = 0; at < whole.length; at += 100)
      news.push(...stream.take(at, whole.subarray(at, at + 100)));
    for (const { data } of [...news, ...stream.flush()]) {
      if ('stream' in data) throw new Error('there was a gap');
      parts.push('text' in data ? Buffer.from(data.text) : Buffer.from(data.base64, 'base64'));
    }
    expect(Buffer.concat(parts).equals(whole)).toBe(true);
  });

  it('ends with what is no whole character', () => {
    const stream = new FollowedStream('stdout', 0);
    const half = Buffer.from('€').subarray(0, 2);
    expect(take(stream, 0, Buffer.concat([Buffer.from('x'), half]))).toEqual([text(0, 'x')]);
    expect([...stream.flush()]).toEqual([
      { event: 'stdout', data: { at: 1, base64: half.toString('base64') } },
    ]);
  });

  it('begins with a whole character after a gap and where it is entered midway', () => {
    const euros = Buffer.from('€€');
    const after = new FollowedStream('stdout', 0);
    expect(take(after, 101, euros.subarray(1))).toEqual([gap(0, 103), text(103, '€')]);
    const midway = new FollowedStream('stdout', 2, true);
    expect(take(midway, 0, euros)).toEqual([text(3, '€')]);
  });

  it('goes on where a follower was, within a chunk and within a character', () => {
    const stream = new FollowedStream('stdout', 1);
    expect(take(stream, 0, CHARACTERS)).toEqual([text(1, CHARACTERS.slice(1))]);
  });

  it('waits a while for what another gateway may bring, and not for what the worker left out', () => {
    const stream = new FollowedStream('stdout', 0);
    expect(stream.waitsBefore({ at: 10, skipped: 10 }, 0)).toBe(false);
    expect(stream.waitsBefore({ at: 10, skipped: 0 }, 0)).toBe(true);
    expect(stream.waitsBefore({ at: 10, skipped: 0 }, 999)).toBe(true);
    expect(stream.waitsBefore({ at: 10, skipped: 0 }, 1000)).toBe(false);
    take(stream, 0, '0123456789');
    expect(stream.waitsBefore({ at: 10, skipped: 0 }, 5000)).toBe(false);
  });
});
