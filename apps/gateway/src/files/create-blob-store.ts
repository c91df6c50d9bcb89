import type { BlobStore } from './blob-store.js';
import { DirectoryBlobStore } from './directory-blob-store.js';
import { S3BlobStore, type S3Config } from './s3-blob-store.js';

export type BlobStoreConfig =
  { readonly kind: 'directory'; readonly directory: string } | ({ readonly kind: 's3' } & S3Config);

/** The blob store that the configuration names; whether it can be written to is for `check` to say. */
export async function createBlobStore(config: BlobStoreConfig): Promise<BlobStore> {
  return config.kind === 'directory' ? new DirectoryBlobStore(config.directory) : S3BlobStore.open(config);
}
