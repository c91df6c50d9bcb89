import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { relativePathFault } from '#shared/job/relative-path.js';

export interface BlobDigest {
  /** Bytes. */
  readonly size: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** What has to arrive; anything else is an error. */
export interface Announced {
  /** Bytes. */
  readonly size?: number;
  /** In hex. */
  readonly sha256?: string;
}

export interface WriteOptions extends Announced {
  readonly signal?: AbortSignal;
}

/** Bytes from `start` up to and with `end`; by default the whole blob. */
export interface ByteRange {
  readonly start?: number;
  readonly end?: number;
}

export interface ListedBlob {
  readonly key: string;
  readonly modifiedAt: Date;
}

/**
 * Where files of jobs lie. A key is a relative path; blob-keys.ts makes them all. Directory and S3 pass one
 * conformance suite. A class, so that Nest can inject it by its type.
 */
export abstract class BlobStore {
  /**
   * Stores all of `stream`, replacing what was there, and resolves when it would survive a power cut. On any
   * failure nothing is seen under the key that was not there before, and the stream is destroyed.
   * @throws {StorageFullError}
   * @throws {BlobContentError} other bytes came than were announced by `size` or `sha256`
   */
  abstract write(key: string, stream: Readable, options?: WriteOptions): Promise<BlobDigest>;

  /**
   * The caller reads the stream to its end or destroys it.
   * @throws {BlobNotFoundError}
   */
  abstract read(key: string, range?: ByteRange): Promise<Readable>;

  abstract stat(key: string): Promise<{ size: number } | undefined>;

  /** Removes one blob; it is no error when there is none. */
  abstract remove(key: string): Promise<void>;

  /** Removes all blobs below `prefix`, which ends with a slash. */
  abstract removeAll(prefix: string): Promise<void>;

  /** All blobs below `prefix`, which ends with a slash; those of one folder come together. */
  abstract list(prefix: string): AsyncIterable<ListedBlob>;

  /** Removes what writes begun before `before` left behind when their process died. */
  abstract removeUnfinished(before: Date): Promise<void>;

  /** Rejects when nothing can be written now. */
  abstract check(): Promise<void>;
}

export class BlobNotFoundError extends Error {
  constructor(readonly key: string) {
    super(`there is no blob ${JSON.stringify(key)} in the blob store`);
  }
}

export class StorageFullError extends Error {
  constructor(cause?: unknown) {
    super('the blob store has no space left; free some or make it larger, and send the files again', {
      cause,
    });
  }
}

/** What arrived is not what was announced. */
export class BlobContentError extends Error {}

/** Hash and length of what passes by. */
export class Digest {
  private readonly hash = createHash('sha256');
  private size = 0;

  constructor(private readonly announced: Announced = {}) {}

  /** @throws {BlobContentError} more than was announced */
  update(chunk: Buffer): void {
    this.size += chunk.length;
    if (this.announced.size !== undefined && this.size > this.announced.size) throw this.wrongSize();
    this.hash.update(chunk);
  }

  /** @throws {BlobContentError} fewer bytes than were announced, or others */
  assertComplete(): void {
    const { size, sha256 } = this.announced;
    if (size !== undefined && this.size !== size) throw this.wrongSize();
    if (sha256 !== undefined && this.hash.copy().digest('hex') !== sha256) {
      throw new BlobContentError(`what arrived does not have the sha256 ${sha256} that was announced`);
    }
  }

  /** To be called once. @throws {BlobContentError} fewer bytes than were announced, or others */
  finish(): BlobDigest {
    this.assertComplete();
    return { size: this.size, sha256: this.hash.digest('hex') };
  }

  private wrongSize(): BlobContentError {
    return new BlobContentError(`${this.size} bytes arrived where ${this.announced.size} were announced`);
  }
}

/** @throws when `key` could lead out of the store: keys are made by blob-keys.ts, so this is a programming error */
export function assertKey(key: string): void {
  const fault = relativePathFault(key);
  if (fault) throw new Error(`the blob key ${JSON.stringify(key)} ${fault}`);
}

/** @throws when `prefix` is no folder of keys */
export function assertPrefix(prefix: string): void {
  if (!prefix.endsWith('/')) throw new Error(`the prefix ${JSON.stringify(prefix)} has to end with a slash`);
  assertKey(prefix.slice(0, -1));
}
