import { Injectable } from '@nestjs/common';
import { Readable } from 'node:stream';
import type { StreamSummary } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import { attemptKey } from '../files/blob-keys.js';
import { BlobNotFoundError, BlobStore } from '../files/blob-store.js';
import type { AttemptRow } from '../jobs/job-row.js';
import { LiveLogs, type StreamName } from './live-logs.js';

/** A part of an output stream. */
export interface Piece {
  /** Bytes of the stream before it. */
  readonly at: number;
  readonly data: Buffer;
}

/** An attempt whose logs are read. */
export type LoggedAttempt = Pick<AttemptRow, 'job_id' | 'attempt' | 'stdout' | 'stderr'>;

/** The output streams of attempts, wherever they lie. */
@Injectable()
export class JobLogs {
  constructor(
    private readonly database: Database,
    private readonly live: LiveLogs,
    private readonly store: BlobStore,
  ) {}

  attempt(jobId: string, attempt: number): Promise<LoggedAttempt | undefined> {
    return this.database.one<LoggedAttempt>(
      'SELECT job_id, attempt, stdout, stderr FROM attempts WHERE job_id = $1 AND attempt = $2',
      [jobId, attempt],
    );
  }

  /**
   * One stream as text; while the command runs, what it has written so far, with a note where some was left out.
   * @param tail bytes from the end; undefined for all
   */
  async read(attempt: LoggedAttempt, stream: StreamName, tail: number | undefined): Promise<Readable> {
    const from = tail === undefined ? 0 : Math.max(0, (await this.end(attempt, stream)) - tail);
    return Readable.from(this.text(attempt, stream, from), { objectMode: false });
  }

  /** Bytes that a stream has. */
  async end({ job_id, attempt, ...summaries }: LoggedAttempt, stream: StreamName): Promise<number> {
    return summaries[stream]?.bytes ?? (await this.live.ends(job_id, attempt))[stream];
  }

  /** A reported stream from a place on, at the pace of the reader. What is lost is missing between two pieces. */
  async *kept(
    jobId: string,
    attempt: number,
    stream: StreamName,
    summary: StreamSummary,
    from: number,
  ): AsyncGenerator<Piece> {
    if (from >= summary.bytes) return;
    const tail = Buffer.from(summary.tail, 'base64');
    const tailAt = summary.bytes - tail.length;
    if (from < tailAt) {
      try {
        let at = from;
        for await (const data of await this.store.read(attemptKey(jobId, attempt, stream), { start: from })) {
          yield { at, data: data as Buffer };
          at += (data as Buffer).length;
        }
        return;
      } catch (error) {
        // The worker could not store it, which is the reason of the job's failure; its end came with the report.
        if (!(error instanceof BlobNotFoundError)) throw error;
      }
    }
    const begin = Math.max(from, tailAt);
    yield { at: begin, data: tail.subarray(begin - tailAt) };
  }

  private async *text(attempt: LoggedAttempt, stream: StreamName, from: number): AsyncGenerator<Buffer> {
    let end = from;
    for await (const { at, data } of this.pieces(attempt, stream, from)) {
      if (at > end) yield Buffer.from(`\n[${at - end} bytes are left out while the job runs]\n`);
      yield data.subarray(Math.max(0, end - at));
      end = Math.max(end, at + data.length);
    }
  }

  private async *pieces(
    { job_id, attempt, ...summaries }: LoggedAttempt,
    stream: StreamName,
    from: number,
  ): AsyncGenerator<Piece> {
    const summary = summaries[stream];
    if (summary) return yield* this.kept(job_id, attempt, stream, summary, from);
    const elsewhere = { stdout: Number.MAX_SAFE_INTEGER, stderr: Number.MAX_SAFE_INTEGER };
    for (let at = from; ;) {
      const chunks = await this.live.next(job_id, attempt, { ...elsewhere, [stream]: at });
      if (chunks.length === 0) return;
      yield* chunks;
      const last = chunks.at(-1)!;
      at = last.at + last.data.length;
    }
  }
}
