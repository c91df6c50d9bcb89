import { Injectable } from '@nestjs/common';
import type { Viewer } from '../auth/viewer.js';
import { Database } from '../database/database.js';
import { AttemptGate } from '../files/attempt-gate.js';
import { JobFilesSource, type OutputsAttempt } from '../files/job-files-source.js';
import { JobQueries } from './job-queries.js';

/** Whose outputs a viewer reads. */
@Injectable()
export class JobOutputs extends JobFilesSource {
  constructor(private readonly queries: JobQueries) {
    super();
  }

  async outputsOf(jobId: string, viewer: Viewer, asked?: number): Promise<OutputsAttempt | undefined> {
    const { last, attempt, worker_id } = await this.queries.row(jobId, viewer);
    if (asked !== undefined && asked !== attempt) {
      return (await this.queries.hasOutputs(jobId, asked)) ? { attempt: asked } : undefined;
    }
    if (worker_id !== null) return { attempt, runsOn: worker_id };
    return last?.outputs ? { attempt: last.attempt } : undefined;
  }
}

/** Whether an attempt may still store files: as long as it holds its lease. */
@Injectable()
export class LeasedAttempts extends AttemptGate {
  constructor(private readonly database: Database) {
    super();
  }

  async isCurrent(jobId: string, attempt: number): Promise<boolean> {
    const row = await this.database.one(
      `SELECT FROM jobs WHERE id = $1 AND attempt = $2 AND state IN ('running', 'paused')`,
      [jobId, attempt],
    );
    return row !== undefined;
  }
}
