import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gatherWrites } from './gathered-writes.js';

/** Notes what each call of the system would have been given. */
class Recorder extends Writable {
  readonly calls: string[] = [];

  constructor() {
    super({ highWaterMark: 10 });
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.calls.push(chunks.map(({ chunk }) => chunk.toString()).join(' '));
    done();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.calls.push(chunk.toString());
    done();
  }
}

describe('gathered writes', () => {
  let socket: Recorder;
  beforeEach(() => {
    socket = new Recorder();
    gatherWrites(socket);
  });

  it('of one turn leave together and in their order, those of the next turn after them', async () => {
    socket.write('a');
    socket.write('b');
    await nextTurn();
    socket.write('c');
    await nextTurn();
    expect(socket.calls).toEqual(['a b', 'c']);
  });

  it('still say when there is no room for more', async () => {
    expect(socket.write('short')).toBe(true);
    expect(socket.write('and too long')).toBe(false);
    await new Promise((resolve) => socket.once('drain', resolve));
    expect(socket.write('c')).toBe(true);
  });

  it('are not lost when the stream ends in the same turn', async () => {
    socket.write('a');
    socket.end('b');
    await new Promise((resolve) => socket.once('finish', resolve));
    expect(socket.calls.join(' ')).toBe('a b');
  });
});
