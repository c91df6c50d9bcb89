import { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
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

export interface S3Config {
  readonly bucket: string;
  readonly region: string;
  /** By default Amazon's own. */
  readonly endpoint?: string;
  /** Put before each key, for a bucket that others use as well. */
  readonly prefix?: string;
  /** By default the SDK finds credentials as it always does. */
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  /** The bucket in the path instead of the host name, as MinIO and most others want. */
  readonly forcePathStyle?: boolean;
}

/**
 * Several parts are in memory at once, so they are small; an upload has at most 10,000 of them, so that a blob whose
 * size is not known before can grow to 78 GiB.
 */
const PART_BYTES = 8 * 2 ** 20;
const MAX_PARTS = 10_000;
/** Parts under way at once; each one is held in memory. */
const PARTS_AT_ONCE = 3;

const FULL_NAMES = new Set(['InsufficientStorage', 'XMinioStorageFull', 'XAmzStorageFull', 'QuotaExceeded']);

type Sdk = typeof import('@aws-sdk/client-s3') & typeof import('@aws-sdk/lib-storage');

/** Blobs as objects of one bucket. */
export class S3BlobStore extends BlobStore {
  private constructor(
    private readonly sdk: Sdk,
    private readonly client: S3Client,
    private readonly bucket: string,
    private readonly prefix: string,
  ) {
    super();
  }

  /** The SDK costs tens of megabytes: it is loaded by gateways that use it and by no others. */
  static async open(config: S3Config): Promise<S3BlobStore> {
    // Which Node versions the SDK means to support in future is for us to know, not for every log.
    process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
    const sdk = { ...(await import('@aws-sdk/client-s3')), ...(await import('@aws-sdk/lib-storage')) };
    const { accessKeyId, secretAccessKey, endpoint, region, forcePathStyle } = config;
    const client = new sdk.S3Client({
      region,
      endpoint,
      forcePathStyle,
      credentials: accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined,
      // Stores other than Amazon's refuse the checksums that the SDK adds by default.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    return new S3BlobStore(sdk, client, config.bucket, folder(config.prefix ?? ''));
  }

  override async write(key: string, stream: Readable, options: WriteOptions = {}): Promise<BlobDigest> {
    assertKey(key);
    const { signal, size } = options;
    const digest = new Digest(options);
    let fault: unknown;
    const source = hashed(stream, digest, (error) => (fault = error));
    const body = Readable.from(source, { objectMode: false });
    const abort = () => stream.destroy(signal?.reason as Error);
    try {
      signal?.throwIfAborted();
      signal?.addEventListener('abort', abort, { once: true });
      // A body that fails makes the upload fail before it is complete, and a failed upload is aborted.
      const upload = new this.sdk.Upload({
        client: this.client,
        params: { ...this.object(key), Body: body },
        partSize: Math.max(PART_BYTES, Math.ceil((size ?? 0) / MAX_PARTS)),
        queueSize: PARTS_AT_ONCE,
      });
      await upload.done();
      return digest.finish();
    } catch (error) {
      stream.destroy();
      body.destroy();
      // The SDK's error may only say that the abort failed.
      throw storageError(fault ?? error);
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  override async read(key: string, { start, end }: ByteRange = {}): Promise<Readable> {
    assertKey(key);
    const Range = start === undefined && end === undefined ? undefined : `bytes=${start ?? 0}-${end ?? ''}`;
    try {
      const { Body } = await this.client.send(new this.sdk.GetObjectCommand({ ...this.object(key), Range }));
      return Body as Readable;
    } catch (error) {
      throw isMissing(error) ? new BlobNotFoundError(key) : error;
    }
  }

  override async stat(key: string): Promise<{ size: number } | undefined> {
    assertKey(key);
    try {
      const head = await this.client.send(new this.sdk.HeadObjectCommand(this.object(key)));
      return { size: head.ContentLength ?? 0 };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  override async remove(key: string): Promise<void> {
    assertKey(key);
    await this.client.send(new this.sdk.DeleteObjectCommand(this.object(key)));
  }

  /** One by one: the request that removes many needs a checksum on which stores do not agree. */
  override async removeAll(prefix: string): Promise<void> {
    for await (const { key } of this.list(prefix)) await this.remove(key);
  }

  override async *list(prefix: string): AsyncIterable<ListedBlob> {
    assertPrefix(prefix);
    const pages = this.sdk.paginateListObjectsV2(
      { client: this.client },
      { Bucket: this.bucket, Prefix: `${this.prefix}${prefix}` },
    );
    for await (const page of pages) {
      for (const { Key, LastModified } of page.Contents ?? []) {
        if (Key) yield { key: Key.slice(this.prefix.length), modifiedAt: LastModified ?? new Date() };
      }
    }
  }

  /**
   * Nothing to do: a failed upload is aborted, and parts that a killed gateway left cannot be seen as blobs.
   * A lifecycle rule of the bucket (AbortIncompleteMultipartUpload) clears them away.
   */
  override async removeUnfinished(_before: Date): Promise<void> {}

  override async check(): Promise<void> {
    try {
      await this.client.send(new this.sdk.PutObjectCommand({ ...this.object('check'), Body: 'check' }));
    } catch (error) {
      throw storageError(error);
    }
  }

  private object(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: `${this.prefix}${key}` };
  }
}

async function* hashed(
  stream: Readable,
  digest: Digest,
  onFault: (fault: unknown) => void,
): AsyncIterable<Buffer> {
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      digest.update(chunk);
      yield chunk;
    }
    digest.assertComplete();
  } catch (fault) {
    onFault(fault);
    throw fault;
  }
}

function folder(prefix: string): string {
  return prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
}

function storageError(error: unknown): unknown {
  return statusOf(error) === 507 || FULL_NAMES.has((error as Error).name)
    ? new StorageFullError(error)
    : error;
}

function isMissing(error: unknown): boolean {
  return ['NoSuchKey', 'NotFound'].includes((error as Error).name);
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}
