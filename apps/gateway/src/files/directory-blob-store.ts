import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, opendir, rename, rm, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import {
  assertKey,
  assertPrefix,
  BlobNotFoundError,
  BlobStore,
  Digest,
  StorageFullError,
  type BlobDigest,
  type ByteRange,
  type ListedBlob,
  type WriteOptions,
} from './blob-store.js';

/** Writes of this many bytes; sockets bring 64 KiB at a time, and each write costs a turn of the thread pool. */
const BATCH_BYTES = 2 ** 20;
/** Pushed to the disk while more arrives, so that the sync at the end has little left to do. */
const SYNC_BYTES = 32 * 2 ** 20;

/** Blobs as files below one directory, which may be shared by several gateways. */
export class DirectoryBlobStore extends BlobStore {
  /** No key starts with a dot, see blob-keys.ts. */
  private readonly unfinished: string;

  constructor(protected readonly directory: string) {
    super();
    this.unfinished = join(directory, '.unfinished');
  }

  override async write(key: string, stream: Readable, options: WriteOptions = {}): Promise<BlobDigest> {
    assertKey(key);
    const temporary = this.temporaryPath();
    try {
      await mkdir(this.unfinished, { recursive: true });
      const digest = await writeSynced(temporary, stream, options);
      options.signal?.throwIfAborted();
      await this.moveInto(key, temporary);
      return digest;
    } catch (error) {
      stream.destroy();
      await unlink(temporary).catch(() => undefined);
      throw storageError(error);
    }
  }

  override async read(key: string, { start, end }: ByteRange = {}): Promise<Readable> {
    assertKey(key);
    const file = await open(join(this.directory, key), 'r').catch((error: unknown) => {
      throw isMissing(error) ? new BlobNotFoundError(key) : error;
    });
    if (!(await file.stat()).isFile()) {
      await file.close();
      throw new BlobNotFoundError(key);
    }
    return file.createReadStream({ start, end, highWaterMark: BATCH_BYTES });
  }

  override async stat(key: string): Promise<{ size: number } | undefined> {
    assertKey(key);
    try {
      const found = await stat(join(this.directory, key));
      return found.isFile() ? { size: found.size } : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  override async remove(key: string): Promise<void> {
    assertKey(key);
    await rm(join(this.directory, key), { force: true });
  }

  override async removeAll(prefix: string): Promise<void> {
    assertPrefix(prefix);
    await rm(join(this.directory, prefix), { recursive: true, force: true, maxRetries: 3 });
  }

  override async *list(prefix: string): AsyncIterable<ListedBlob> {
    assertPrefix(prefix);
    yield* this.walk(prefix);
  }

  override async removeUnfinished(before: Date): Promise<void> {
    for await (const { key, modifiedAt } of this.walk('.unfinished/')) {
      if (modifiedAt < before) await rm(join(this.directory, key), { force: true });
    }
  }

  override async check(): Promise<void> {
    const probe = this.temporaryPath();
    try {
      await mkdir(this.unfinished, { recursive: true });
      await writeSynced(probe, Readable.from([Buffer.from('check')]), {});
    } catch (error) {
      throw storageError(error);
    } finally {
      await unlink(probe).catch(() => undefined);
    }
  }

  /** Where a blob is written before it gets its name: on the same file system, so that the rename is atomic. */
  protected temporaryPath(): string {
    return join(this.unfinished, randomUUID());
  }

  private async moveInto(key: string, temporary: string): Promise<void> {
    const path = join(this.directory, key);
    const firstMade = await mkdir(dirname(path), { recursive: true });
    await rename(temporary, path);
    // A new name lasts only once its folder is synced, and a new folder once its own folder is.
    const top = firstMade ? dirname(firstMade) : dirname(path);
    for (let folder = dirname(path); folder.length >= top.length; folder = dirname(folder)) {
      await syncFolder(folder);
      if (folder === dirname(folder)) break;
    }
  }

  private async *walk(prefix: string): AsyncIterable<ListedBlob> {
    const folder = await opendir(join(this.directory, prefix)).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    for await (const entry of folder ?? []) {
      const key = `${prefix}${entry.name}`;
      if (entry.isDirectory()) {
        yield* this.walk(`${key}/`);
        continue;
      }
      const found = await stat(join(this.directory, key)).catch(() => undefined);
      if (found) yield { key, modifiedAt: found.mtime };
    }
  }
}

async function writeSynced(path: string, stream: Readable, options: WriteOptions): Promise<BlobDigest> {
  const file = await open(path, 'w', 0o600);
  try {
    const digest = await writeHashed(file, stream, options);
    await file.datasync();
    return digest;
  } finally {
    await file.close();
  }
}

/** One batch is written while the next one arrives and is hashed; memory holds two. */
async function writeHashed(file: FileHandle, stream: Readable, options: WriteOptions): Promise<BlobDigest> {
  const digest = new Digest(options);
  const writer = new BatchWriter(file);
  const abort = () => stream.destroy(options.signal?.reason as Error);
  options.signal?.throwIfAborted();
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      digest.update(chunk);
      await writer.write(chunk);
    }
    const result = digest.finish();
    await writer.flush();
    return result;
  } finally {
    options.signal?.removeEventListener('abort', abort);
    await writer.settle();
  }
}

class BatchWriter {
  private batch: Buffer[] = [];
  private batchBytes = 0;
  private unsynced = 0;
  private writing: Promise<void> = Promise.resolve();
  private syncing: Promise<void> = Promise.resolve();

  constructor(private readonly file: FileHandle) {}

  async write(chunk: Buffer): Promise<void> {
    this.batch.push(chunk);
    this.batchBytes += chunk.length;
    if (this.batchBytes >= BATCH_BYTES) await this.startBatch();
  }

  async flush(): Promise<void> {
    await this.startBatch();
    await this.writing;
    await this.syncing;
  }

  /** Resolves when the file is no longer touched, whatever became of it. */
  async settle(): Promise<void> {
    await Promise.allSettled([this.writing, this.syncing]);
  }

  private async startBatch(): Promise<void> {
    await this.writing;
    const batch = this.batch;
    const bytes = this.batchBytes;
    this.batch = [];
    this.batchBytes = 0;
    this.writing = writeAll(this.file, batch, bytes);
    this.writing.catch(() => undefined);
    this.unsynced += bytes;
    if (this.unsynced >= SYNC_BYTES) await this.startSync();
  }

  private async startSync(): Promise<void> {
    await this.syncing;
    this.unsynced = 0;
    this.syncing = this.file.datasync();
    this.syncing.catch(() => undefined);
  }
}

async function writeAll(file: FileHandle, buffers: Buffer[], bytes: number): Promise<void> {
  if (bytes === 0) return;
  const { bytesWritten } = await file.writev(buffers);
  if (bytesWritten === bytes) return;
  // A short write: the disk is about to be full, and the next one says so.
  await file.writeFile(Buffer.concat(buffers).subarray(bytesWritten));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function storageError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  // EFBIG: the file is larger than its file system or its limit lets it be.
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG' ? new StorageFullError(error) : error;
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
