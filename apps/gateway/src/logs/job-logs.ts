import { Injectable } from '@nestjs/common';
import { Readable } from 'node:stream';
import { attemptKey } from '../files/blob-keys.js';
import { BlobNotFoundError, BlobStore } from '../files/blob-store.js';
import type { JobWithAttempts } from '../jobs/job-view.js';
import { LiveLogs, type LiveChunk } from './live-logs.js';

export type StreamName = 'stdout' | 'stderr';

/** One output stream of a job's latest attempt, wherever it lies. */
@Injectable()
export class JobLogs {
  constructor(
    private readonly live: LiveLogs,
    private readonly store: BlobStore,
  ) {}

  /**
   * @param tail bytes from the end; undefined for all
   */
  async read(job: JobWithAttempts, stream: StreamName, tail: number | undefined): Promise<Readable> {
    const summary = job.last?.[stream];
    if (!summary) {
      const text =
        job.attempt > 0 ? joined(await this.live.read(job.id, job.attempt, stream)) : Buffer.alloc(0);
      return Readable.from([lastBytes(text, tail)], { objectMode: false });
    }
    const kept = Buffer.from(summary.tail, 'base64');
    if (summary.whole || (tail !== undefined && tail <= kept.length)) {
      return Readable.from([lastBytes(kept, tail)], { objectMode: false });
    }
    const start = tail === undefined ? 0 : Math.max(0, summary.bytes - tail);
    try {
      return await this.store.read(attemptKey(job.id, job.attempt, stream), { start });
    } catch (error) {
      // The worker could not store it, which is the reason of the job's failure; its end came with the report.
      if (!(error instanceof BlobNotFoundError)) throw error;
      return Readable.from([lastBytes(kept, tail)], { objectMode: false });
    }
  }
}

function lastBytes(text: Buffer, tail: number | undefined): Buffer {
  return tail === undefined || tail >= text.length ? text : text.subarray(text.length - tail);
}

/** Chunks as one text; what a slow reader or a burst left out is marked. */
export function joined(chunks: readonly LiveChunk[]): Buffer {
  const parts: Buffer[] = [];
  let end = 0;
  for (const { at, data } of chunks) {
    if (at > end) parts.push(Buffer.from(`\n[${at - end} bytes are left out while the job runs]\n`));
    parts.push(at < end ? data.subarray(end - at) : data);
    end = Math.max(end, at + data.length);
  }
  return Buffer.concat(parts);
}
