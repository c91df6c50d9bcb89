import { Injectable } from '@nestjs/common';
import { CHUNK_BYTES, type LogChunk } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import { Batcher } from '../dispatch/batcher.js';
import { Wakeups } from '../events/wakeups.js';

export type StreamName = 'stdout' | 'stderr';

/** Bytes of each stream of a running attempt that are kept for readers; the end brings the whole. */
const WINDOW = 8 * 2 ** 20;
/** What has left the window is removed once in so many bytes. */
const SWEEP_EVERY = 2 ** 20;
const CHUNKS_PER_STATEMENT = 16;
/** Of each stream; what one reader holds in memory. */
const CHUNKS_PER_READ = 2;

/** A chunk that came twice says nothing new; one of an attempt that is over comes too late. */
const ADD = `
  INSERT INTO log_chunks (job_id, attempt, stream, at_byte, skipped, data)
  SELECT c.* FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[])
    AS c (job_id, attempt, stream, at_byte, skipped, data)
  WHERE EXISTS (SELECT FROM jobs WHERE id = c.job_id AND attempt = c.attempt AND state IN ('running', 'paused'))
  ON CONFLICT DO NOTHING`;

const FORGET = `
  DELETE FROM log_chunks WHERE job_id = $1 AND attempt = $2 AND stream = $3 AND at_byte < $4`;

const NEXT = ['stdout', 'stderr']
  .map(
    (stream, index) => `
  (SELECT stream, at_byte, skipped, data FROM log_chunks
   WHERE job_id = $1 AND attempt = $2 AND stream = '${stream}'
     AND at_byte > $${index + 3}::bigint - ${CHUNK_BYTES} AND at_byte + length(data) > $${index + 3}::bigint
   ORDER BY at_byte LIMIT ${CHUNKS_PER_READ})`,
  )
  .join(' UNION ALL ');

const ENDS = `
  SELECT DISTINCT ON (stream) stream, at_byte + length(data) AS bytes FROM log_chunks
  WHERE job_id = $1 AND attempt = $2 ORDER BY stream, at_byte DESC`;

/** Hours that the chunks of an attempt are kept that never came to report its log. */
const KEEP_LOST_HOURS = 24;

const SWEEP = `
  DELETE FROM log_chunks c WHERE NOT EXISTS (
    SELECT FROM jobs j WHERE j.id = c.job_id AND j.attempt = c.attempt AND j.state IN ('running', 'paused'))
  AND NOT EXISTS (
    SELECT FROM attempts a WHERE a.job_id = c.job_id AND a.attempt = c.attempt
      AND a.stdout IS NULL AND a.finished_at > now() - interval '${KEEP_LOST_HOURS} hours')`;

export interface LiveChunk {
  readonly stream: StreamName;
  /** Bytes of the stream before it. */
  readonly at: number;
  /** How many of them, right before it, its worker left out. */
  readonly skipped: number;
  readonly data: Buffer;
}

/** Bytes of each stream. */
export type Places = Readonly<Record<StreamName, number>>;

/** What running attempts have written so far, and what is left of those whose worker was lost. */
@Injectable()
export class LiveLogs {
  private readonly batcher = new Batcher<LogChunk, void>(
    (chunks) => this.write(chunks),
    CHUNKS_PER_STATEMENT,
  );
  private readonly reads = new Map<string, Promise<LiveChunk[]>>();

  constructor(
    private readonly database: Database,
    private readonly wakeups: Wakeups,
  ) {}

  /** Chunks that come together are written together, over one connection however many come. */
  add(chunk: LogChunk): Promise<void> {
    return this.batcher.add(chunk);
  }

  /**
   * A few chunks of each stream from a place on, in their order. Those who follow the same job are mostly at the
   * same place, and share the reading.
   */
  next(jobId: string, attempt: number, from: Places): Promise<LiveChunk[]> {
    const key = `${jobId} ${attempt} ${from.stdout} ${from.stderr}`;
    let reading = this.reads.get(key);
    if (!reading) {
      reading = this.read(jobId, attempt, from).finally(() => this.reads.delete(key));
      this.reads.set(key, reading);
    }
    return reading;
  }

  /** How far each stream has come. */
  async ends(jobId: string, attempt: number): Promise<Places> {
    const rows = await this.database.query<{ stream: StreamName; bytes: string }>(ENDS, [jobId, attempt]);
    return {
      stdout: 0,
      stderr: 0,
      ...Object.fromEntries(rows.map(({ stream, bytes }) => [stream, Number(bytes)])),
    };
  }

  /** Removes the chunks of attempts that are over. */
  async sweep(): Promise<void> {
    await this.database.query(SWEEP);
  }

  private async read(jobId: string, attempt: number, { stdout, stderr }: Places): Promise<LiveChunk[]> {
    const rows = await this.database.prepared<{
      stream: StreamName;
      at_byte: string;
      skipped: string;
      data: Buffer;
    }>('log-chunks', NEXT, [jobId, attempt, stdout, stderr]);
    return rows.map(({ stream, at_byte, skipped, data }) => ({
      stream,
      at: Number(at_byte),
      skipped: Number(skipped),
      data,
    }));
  }

  private async write(chunks: LogChunk[]): Promise<void[]> {
    await this.database.query(ADD, [
      chunks.map((chunk) => chunk.jobId),
      chunks.map((chunk) => chunk.attempt),
      chunks.map((chunk) => chunk.stream),
      chunks.map((chunk) => chunk.offset),
      chunks.map((chunk) => chunk.skipped ?? 0),
      chunks.map((chunk) => Buffer.from(chunk.data, 'base64')),
    ]);
    for (const chunk of chunks) await this.forgetBefore(chunk);
    this.wakeups.written(new Set(chunks.map((chunk) => chunk.jobId)));
    return chunks.map(() => undefined);
  }

  private async forgetBefore({ jobId, attempt, stream, offset, data }: LogChunk): Promise<void> {
    const end = offset + Buffer.byteLength(data, 'base64');
    if (offset < WINDOW || Math.floor(offset / SWEEP_EVERY) === Math.floor(end / SWEEP_EVERY)) return;
    await this.database.query(FORGET, [jobId, attempt, stream, offset - WINDOW]);
  }
}
