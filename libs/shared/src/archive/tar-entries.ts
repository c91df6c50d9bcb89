import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import type { ArchiveSource, EntryOnTheWay } from './archive-entry.js';
import type { ArchiveFormat } from './archive.js';
import { ArchiveError, archiveFault, SourceFault } from './archive-error.js';
import { refuseKind, type EntryRules } from './entry-rules.js';
import { unpackZstd } from './zstd.js';

const KINDS: Readonly<Record<string, string>> = {
  link: 'a hard link',
  symlink: 'a symbolic link',
  'character-device': 'a character device',
  'block-device': 'a block device',
  fifo: 'a named pipe',
};
/** An archive ends with two blocks of zeros; some tools write only one. */
const END_BYTES = 512;

/** The entries of a tar, packed or not, in their order. @throws {ArchiveError} */
export async function* tarEntries(
  source: ArchiveSource,
  format: Exclude<ArchiveFormat, 'zip'>,
  rules: EntryRules,
): AsyncIterable<EntryOnTheWay> {
  const tar = extract();
  const packed = source.size === 0 ? Readable.from([]) : await source.read(0, source.size - 1);
  const plain = Readable.from(checkedTar(unpacked(fetched(packed), format), rules), { objectMode: false });
  const piped = new Promise<unknown>((resolve) => pipeline(plain, tar, resolve));
  // The extractor and its entries may only say that they were destroyed; the pipeline knows why.
  const reason = async (error: unknown) =>
    archiveFault(error instanceof ArchiveError ? error : ((await piped) ?? error), 'tar');
  try {
    for await (const entry of tar) {
      const checked = check(entry.header, dataOf(entry, reason), rules);
      if (checked) yield checked;
      entry.resume();
    }
  } catch (error) {
    throw await reason(error);
  } finally {
    plain.destroy();
    packed.destroy();
  }
}

async function* dataOf(
  entry: AsyncIterable<unknown>,
  reason: (error: unknown) => Promise<unknown>,
): AsyncIterable<Buffer> {
  try {
    yield* entry as AsyncIterable<Buffer>;
  } catch (error) {
    throw await reason(error);
  }
}

function check(header: Header, data: AsyncIterable<Buffer>, rules: EntryRules): EntryOnTheWay | undefined {
  const kind = header.type === 'directory' ? 'folder' : 'file';
  if (kind === 'file' && header.type !== 'file' && header.type !== 'contiguous-file') {
    refuseKind(header.name, KINDS[header.type ?? ''] ?? 'of a kind that is not known');
  }
  const path = rules.admit(header.name, kind);
  if (path === undefined) return undefined;
  const size = kind === 'file' ? (header.size ?? 0) : 0;
  rules.addBytes(size);
  return { path, kind, size, executable: ((header.mode ?? 0) & 0o111) !== 0, open: async () => data };
}

async function* fetched(packed: Readable): AsyncIterable<Buffer> {
  try {
    yield* packed as AsyncIterable<Buffer>;
  } catch (error) {
    throw new SourceFault(error);
  }
}

function unpacked(
  packed: AsyncIterable<Buffer>,
  format: Exclude<ArchiveFormat, 'zip'>,
): AsyncIterable<Buffer> {
  if (format === 'tar') return packed;
  if (format === 'tar.zst') return unpackZstd(packed);
  return pipeline(Readable.from(packed, { objectMode: false }), createGunzip(), () => undefined);
}

/** Looks at all that comes out, headers and data that no entry announced included. */
async function* checkedTar(plain: AsyncIterable<Buffer>, rules: EntryRules): AsyncIterable<Buffer> {
  let total = 0;
  let zeros = 0;
  for await (const chunk of plain) {
    total += chunk.length;
    rules.checkRatio(total);
    zeros = zerosAtEnd(chunk, zeros);
    yield chunk;
  }
  if (zeros < END_BYTES) {
    throw new ArchiveError('The tar archive has no end: it was cut off; pack and send it again.');
  }
}

function zerosAtEnd(chunk: Buffer, before: number): number {
  let length = 0;
  while (length < END_BYTES && length < chunk.length && chunk[chunk.length - 1 - length] === 0) length++;
  return length === chunk.length ? before + length : length;
}
