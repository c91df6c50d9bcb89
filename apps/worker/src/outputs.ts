import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  openSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import type { ZipFile } from 'yazl';
import type { Outcome } from '#shared/messages/messages.js';
import { AttemptFailure, because } from './attempt-failure.js';
import { selectOutputs, type FoundFile, type Snapshot } from './output-files.js';
import type { SpoolFiles } from './spool.js';

/** One output file, as the listing beside the archive has it. */
interface ListedFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

export interface PackedOutputs {
  readonly summary: Outcome['outputs'];
  /** A sentence for people about files that could not be taken. */
  readonly note?: string;
}

const SAMPLE_BYTES = 64 * 1024;
/** A sample that does not get smaller than this is packed as it is: compressing it again is wasted time. */
const WORTHWHILE = 0.9;
/** Below this, deflate's own frame eats what it saves. */
const TINY_BYTES = 256;

const deflated = promisify<Buffer, { level: number }, Buffer>(deflateRaw);

/** Where the archive has a log that was cut, whole. */
export const FULL_OUTPUT_FOLDER = 'full-output';

/**
 * Packs the new or changed files that match `globs`, and logs that are to be kept whole, into one archive with a listing, both in the attempt's
 * spool.
 * @throws {AttemptFailure} output_error; nothing half-made is left
 */
export async function packOutputs(
  directory: string,
  before: Snapshot,
  globs: readonly string[],
  spool: SpoolFiles,
  signal: AbortSignal,
  logs: readonly ('stdout' | 'stderr')[] = [],
): Promise<PackedOutputs> {
  try {
    const selected = await selectOutputs(directory, before, globs);
    const whole = logs.map((name) => fullLog(name, spool));
    const others = selected.files.filter(({ path }) => !whole.some((log) => log.path === path));
    const files = [...others, ...whole];
    const unusable = selected.unusable + selected.files.length - others.length;
    const note = unusable === 0 ? undefined : unusableNote(unusable);
    if (files.length === 0) return { summary: null, note };
    const listed = await writeArchive(directory, files, spool.archive, signal);
    await writeFile(spool.listing, JSON.stringify(listed));
    const { size: archiveBytes } = await stat(spool.archive);
    const bytes = listed.reduce((sum, file) => sum + file.size, 0);
    return { summary: { files: listed.length, bytes, archiveBytes }, note };
  } catch (error) {
    await Promise.all([rm(spool.archive, { force: true }), rm(spool.listing, { force: true })]);
    signal.throwIfAborted();
    throw new AttemptFailure(
      'output_error',
      `The output files could not be packed: ${because(error)}`,
      error,
    );
  }
}

function fullLog(name: 'stdout' | 'stderr', spool: SpoolFiles): FoundFile {
  return { path: `${FULL_OUTPUT_FOLDER}/${name}`, stats: statSync(spool[name]), source: spool[name] };
}

async function writeArchive(
  directory: string,
  files: readonly FoundFile[],
  archive: string,
  signal: AbortSignal,
): Promise<ListedFile[]> {
  const { ZipFile } = await import('yazl');
  const zip = new ZipFile();
  const failed = new Promise<never>((_resolve, reject) => zip.on('error', reject));
  const written = pipeline(zip.outputStream, createWriteStream(archive, { mode: 0o600 }), { signal });
  const listed: ListedFile[] = [];
  const addAll = async () => {
    for (const file of files) {
      signal.throwIfAborted();
      await addFile(zip, directory, file, (entry) => listed.push(entry));
    }
    zip.end();
  };
  try {
    // All are watched from the start: writing may fail, or be ended, while files are still being added.
    await Promise.race([Promise.all([addAll(), written]), failed]);
    return listed;
  } finally {
    (zip.outputStream as Readable).destroy();
    await written.catch(() => undefined);
  }
}

/** The file is opened when its turn comes to be written, and hashed while it is read. */
async function addFile(
  zip: ZipFile,
  directory: string,
  { path, stats, source = join(directory, path) }: FoundFile,
  list: (file: ListedFile) => void,
): Promise<void> {
  const options = {
    mtime: stats.mtime,
    mode: stats.mode,
    compress: await isWorthCompressing(source, stats.size),
  };
  const listed = (size: number, hash: Hash) => list({ path, size, sha256: hash.digest('hex') });
  zip.addReadStreamLazy(path, options, (serve) => {
    try {
      serve(
        null,
        stats.size <= SAMPLE_BYTES ? readWhole(source, listed) : readStreaming(zip, source, listed),
      );
    } catch (error) {
      zip.emit('error', error);
    }
  });
}

type ListHashed = (size: number, hash: Hash) => void;

/** A small file in one read: a stream of its own for each of 10,000 files costs twice the time. */
function readWhole(source: string, list: ListHashed): Readable {
  const fd = openSync(source, NO_LINKS);
  try {
    const content = readFileSync(fd);
    list(content.length, createHash('sha256').update(content));
    return Readable.from([content], { objectMode: false });
  } finally {
    closeSync(fd);
  }
}

function readStreaming(zip: ZipFile, source: string, list: ListHashed): Readable {
  const hash = createHash('sha256');
  let size = 0;
  const hashed = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
    flush(done) {
      list(size, hash);
      done();
    },
  });
  const content = createReadStream(source, { flags: NO_LINKS as unknown as string });
  content.on('error', (error) => zip.emit('error', error));
  return content.pipe(hashed);
}

const NO_LINKS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

async function isWorthCompressing(file: string, size: number): Promise<boolean> {
  if (size <= TINY_BYTES) return false;
  if (size <= SAMPLE_BYTES) return true;
  const handle = await open(file, NO_LINKS);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(SAMPLE_BYTES), 0, SAMPLE_BYTES, 0);
    const packed = await deflated(buffer.subarray(0, bytesRead), { level: 1 });
    return packed.length < bytesRead * WORTHWHILE;
  } finally {
    await handle.close();
  }
}

function unusableNote(count: number): string {
  const files = count === 1 ? '1 output file was' : `${count} output files were`;
  return `${files} left out: the name has a control character or a backslash, is too long, or is that of a log.`;
}
