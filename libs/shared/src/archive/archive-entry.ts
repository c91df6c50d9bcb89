import type { Readable } from 'node:stream';

/** One file of an archive, as `inspectArchive` and `unpackArchive` list it. */
export interface ArchiveEntry {
  readonly path: string;
  /** Bytes when unpacked. */
  readonly size: number;
}

/** One entry on the way through an archive; its path and size have passed the rules. */
export interface EntryOnTheWay extends ArchiveEntry {
  readonly kind: 'file' | 'folder';
  readonly executable: boolean;
  /** The data of a file; of a tar, only until the next entry is asked for. */
  open(): Promise<AsyncIterable<Buffer>>;
}

/** Where an archive lies. */
export interface ArchiveSource {
  /** Bytes. */
  readonly size: number;
  /** Bytes from `start` up to and with `end`. */
  read(start: number, end: number): Promise<Readable> | Readable;
}
