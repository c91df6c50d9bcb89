import { Decompress } from 'fzstd';
import { ArchiveError, archiveFault } from './archive-error.js';

/** What the zstd tool itself takes without being asked: 128 MiB, as `--long=27` makes it. */
const MAX_WINDOW = 2 ** 27;
/** Four bytes may stand for 128 KiB, and all that one push brings is held: 1 KiB brings 32 MiB at most. */
const PUSH_BYTES = 1024;

/** Unpacks a zstd stream of one or more frames. @throws {ArchiveError} it is cut off, damaged or too greedy */
export async function* unpackZstd(packed: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  let out: Buffer[] = [];
  const decompress: Decompress = new Decompress((data, last) => {
    if (!last) assertWindow(decompress);
    out.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  });
  for await (const chunk of packed) {
    for (let start = 0; start < chunk.length; start += PUSH_BYTES) {
      push(decompress, chunk.subarray(start, start + PUSH_BYTES), false);
      yield* out;
      out = [];
    }
  }
  push(decompress, new Uint8Array(0), true);
  yield* out;
}

function push(decompress: Decompress, chunk: Uint8Array, last: boolean): void {
  try {
    decompress.push(chunk, last);
  } catch (error) {
    throw archiveFault(error, 'zstd');
  }
}

/**
 * A frame names the memory that it wants, up to 2 GiB. The decoder has no limit for it; it reserves it and uses it
 * only after the first block was handed out, which is when this looks.
 */
function assertWindow(decompress: Decompress): void {
  const { s: frame } = decompress as unknown as { s?: { e?: number } };
  if (typeof frame?.e !== 'number') throw new Error('this version of fzstd does not tell its window size');
  if (frame.e > MAX_WINDOW) {
    throw new ArchiveError(
      `The zstd archive wants a window of ${frame.e} bytes; pack it with a smaller one (zstd without --ultra and --long).`,
    );
  }
}
