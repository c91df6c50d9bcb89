import { Injectable } from '@nestjs/common';
import type { LogChunk } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';

/** Bytes of each stream of a running attempt that are kept for readers; the end brings the whole. */
const WINDOW = 8 * 2 ** 20;

/** A chunk that came twice says nothing new; one of an attempt that is over comes too late. */
const ADD = `
  INSERT INTO log_chunks (job_id, attempt, stream, at_byte, data)
  SELECT $1, $2, $3, $4, $5 WHERE EXISTS (
    SELECT FROM jobs WHERE id = $1 AND attempt = $2 AND lease_expires_at IS NOT NULL)
  ON CONFLICT DO NOTHING`;

export interface LiveChunk {
  at: number;
  data: Buffer;
}

/** What running attempts have written so far. */
@Injectable()
export class LiveLogs {
  constructor(private readonly database: Database) {}

  async add({ jobId, attempt, stream, offset, data }: LogChunk): Promise<void> {
    await this.database.query(ADD, [jobId, attempt, stream, offset, Buffer.from(data, 'base64')]);
    if (offset > WINDOW) {
      await this.database.query(
        'DELETE FROM log_chunks WHERE job_id = $1 AND attempt = $2 AND stream = $3 AND at_byte < $4',
        [jobId, attempt, stream, offset - WINDOW],
      );
    }
  }

  /** Chunks in order; a chunk's `at` beyond the end of the one before it is a gap. */
  async read(jobId: string, attempt: number, stream: 'stdout' | 'stderr'): Promise<LiveChunk[]> {
    const rows = await this.database.query<{ at_byte: string; data: Buffer }>(
      `SELECT at_byte, data FROM log_chunks WHERE job_id = $1 AND attempt = $2 AND stream = $3 ORDER BY at_byte`,
      [jobId, attempt, stream],
    );
    return rows.map((row) => ({ at: Number(row.at_byte), data: row.data }));
  }

  /** Removes the chunks of attempts that are over. */
  async sweep(): Promise<void> {
    await this.database.query(
      `DELETE FROM log_chunks c WHERE NOT EXISTS (
         SELECT FROM jobs j WHERE j.id = c.job_id AND j.attempt = c.attempt AND j.lease_expires_at IS NOT NULL)`,
    );
  }
}
