import { PassThrough, type Readable } from 'node:stream';
import yauzl from 'yauzl';
import type { ArchiveSource } from './archive-entry.js';
import { archiveFault, SourceFault } from './archive-error.js';

/** The index of a zip is read 46 bytes at a time; over a network that has to become few requests. */
const BLOCK_BYTES = 256 * 2 ** 10;

/**
 * Opens a zip by its index at the end; the caller closes it. Names are left as bytes: `zipEntryName` reads them.
 * @throws {ArchiveError} it is no zip or not a whole one
 */
export async function openZip(source: ArchiveSource): Promise<yauzl.ZipFile> {
  try {
    return await yauzl.fromRandomAccessReaderPromise(new BlockReader(source), source.size, {
      decodeStrings: false,
      autoClose: false,
    });
  } catch (error) {
    throw archiveFault(error, 'zip');
  }
}

/** All entries of the index, in its order. @throws {ArchiveError} the index is damaged */
export async function* zipIndex(zip: yauzl.ZipFile): AsyncIterable<yauzl.Entry> {
  try {
    yield* zip.eachEntry();
  } catch (error) {
    throw archiveFault(error, 'zip');
  }
}

export function zipEntryName(entry: yauzl.Entry): string {
  return yauzl.getFileNameLowLevel(entry.generalPurposeBitFlag, entry.fileNameRaw, entry.extraFields, true);
}

class BlockReader extends yauzl.RandomAccessReader {
  private block = Buffer.alloc(0);
  private blockStart = 0;

  constructor(private readonly source: ArchiveSource) {
    super();
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null) => void,
  ): void {
    this.fill(position, length)
      .then(() => {
        const from = position - this.blockStart;
        if (from + length > this.block.length) throw new Error('unexpected EOF');
        this.block.copy(target, offset, from, from + length);
      })
      // Out of the promise chain: what the callback throws is not a fault of reading.
      .then(
        () => setImmediate(done, null),
        (error: Error) => setImmediate(done, error),
      );
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const stream = new PassThrough();
    Promise.resolve(this.source.read(start, end - 1)).then(
      (source) => {
        source.on('error', (error) => stream.destroy(new SourceFault(error)));
        stream.on('close', () => source.destroy());
        source.pipe(stream);
      },
      (error: unknown) => stream.destroy(new SourceFault(error)),
    );
    return stream;
  }

  private async fill(position: number, length: number): Promise<void> {
    if (position >= this.blockStart && position + length <= this.blockStart + this.block.length) return;
    const end = Math.min(this.source.size, position + Math.max(length, BLOCK_BYTES)) - 1;
    const parts: Buffer[] = [];
    if (end >= position) {
      try {
        const stream = await this.source.read(position, end);
        for await (const part of stream) parts.push(part as Buffer);
      } catch (error) {
        throw new SourceFault(error);
      }
    }
    this.block = Buffer.concat(parts);
    this.blockStart = position;
  }
}
