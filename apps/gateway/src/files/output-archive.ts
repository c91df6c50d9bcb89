import { Injectable } from '@nestjs/common';
import { pipeline, Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { createInflateRaw } from 'node:zlib';
import { z } from 'zod';
import { openZip, zipEntryName, zipIndex } from '#shared/archive/zip-file.js';
import { attemptKey } from './blob-keys.js';
import { BlobStore } from './blob-store.js';
import type { Span } from './byte-range.js';

const listing = z.array(
  z.object({ path: z.string(), size: z.number(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
);
export type OutputFile = z.infer<typeof listing>[number];

/** Where one packed file lies in the archive. */
interface Place {
  readonly start: number;
  readonly packedSize: number;
  readonly deflated: boolean;
}

/** The output files of an attempt: one zip in the blob store with a listing beside it. */
@Injectable()
export class OutputArchive {
  constructor(private readonly store: BlobStore) {}

  async list(jobId: string, attempt: number): Promise<OutputFile[]> {
    return listing.parse(await json(await this.store.read(attemptKey(jobId, attempt, 'outputs.json'))));
  }

  /** The bytes of one listed file, or a span of them, without unpacking the others. */
  async read(jobId: string, attempt: number, file: OutputFile, span: Span): Promise<Readable> {
    if (span.end < span.start) return Readable.from([]);
    const key = attemptKey(jobId, attempt, 'outputs.zip');
    const place = await this.find(key, file);
    if (!place.deflated) {
      return this.store.read(key, { start: place.start + span.start, end: place.start + span.end });
    }
    const packed = await this.store.read(key, {
      start: place.start,
      end: place.start + place.packedSize - 1,
    });
    const plain = pipeline(packed, createInflateRaw(), () => undefined);
    return Readable.from(cut(plain, span), { objectMode: false });
  }

  private async find(key: string, { path, size }: OutputFile): Promise<Place> {
    const found = await this.store.stat(key);
    if (!found) throw new Error(`the archive ${key} is gone`);
    const zip = await openZip({ ...found, read: (start, end) => this.store.read(key, { start, end }) });
    try {
      for await (const entry of zipIndex(zip)) {
        if (zipEntryName(entry) !== path) continue;
        if (!entry.canDecodeFileData() || entry.uncompressedSize !== size) break;
        const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
        const deflated = entry.compressionMethod !== 0;
        return { start: fileDataStart, packedSize: entry.compressedSize, deflated };
      }
    } finally {
      zip.close();
    }
    throw new Error(`the archive ${key} does not hold what its listing says of ${JSON.stringify(path)}`);
  }
}

/** Stops reading, and with it unpacking, as soon as the span is complete. */
async function* cut(plain: Readable, { start, end }: Span): AsyncIterable<Buffer> {
  let at = 0;
  for await (const chunk of plain as AsyncIterable<Buffer>) {
    const part = chunk.subarray(Math.max(0, start - at), end + 1 - at);
    at += chunk.length;
    if (part.length > 0) yield part;
    if (at > end) return;
  }
  throw new Error('an output file ended early');
}
