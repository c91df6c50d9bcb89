import { Injectable, Logger } from '@nestjs/common';
import { isFinal } from '#shared/job/job-state.js';
import type { Finished, Lost, Progress, RecordedReply } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import { storable } from '../database/storable-text.js';
import { JobLifecycle } from '../jobs/job-lifecycle.js';
import type { MovedJob } from '../jobs/job-row.js';
import { Aftermath } from './aftermath.js';
import { Batcher } from './batcher.js';

/** Whether a report that moved nothing was one that had been recorded before. */
const ALREADY_RECORDED = `
  SELECT FROM attempts WHERE job_id = $1 AND attempt = $2 AND worker_id = $3
    AND ending IN ('succeeded', 'failed', 'canceled')`;

const ALREADY_GIVEN_BACK = `
  SELECT FROM attempts WHERE job_id = $1 AND attempt = $2 AND worker_id = $3 AND ending IS NOT NULL`;

const PROGRESS = `
  UPDATE jobs SET progress = $3 WHERE id = $1 AND attempt = $2 AND lease_expires_at IS NOT NULL`;

/** Records what workers say of their attempts, under the attempt's fence, so that repeating says nothing new. */
@Injectable()
export class Reports {
  private readonly logger = new Logger(Reports.name);
  private readonly batcher = new Batcher<Finished, MovedJob | undefined>((reports) => this.record(reports));

  constructor(
    private readonly database: Database,
    private readonly lifecycle: JobLifecycle,
    private readonly aftermath: Aftermath,
  ) {}

  async finished(report: Finished): Promise<RecordedReply> {
    const moved = await this.batcher.add(report);
    return this.reply(moved, report, ALREADY_RECORDED);
  }

  async lost(report: Lost): Promise<RecordedReply> {
    const moved = await this.lifecycle.lose(report);
    if (moved) await this.aftermath.of([moved]);
    return this.reply(moved, report, ALREADY_GIVEN_BACK);
  }

  async progress({ jobId, attempt, percent, message }: Progress): Promise<void> {
    const mark = { percent, message: message && storable(message) };
    await this.database.query(PROGRESS, [jobId, attempt, JSON.stringify(mark)]);
  }

  private async record(reports: Finished[]): Promise<(MovedJob | undefined)[]> {
    const moved = await this.lifecycle.finish(reports);
    await this.aftermath.of(moved);
    const byId = new Map(moved.map((job) => [job.id, job]));
    return reports.map((report) => byId.get(report.jobId));
  }

  private async reply(
    moved: MovedJob | undefined,
    { jobId, attempt, workerId }: Finished | Lost,
    already: string,
  ): Promise<RecordedReply> {
    if (moved) {
      if (isFinal(moved.state)) this.logger.log(`job is ${moved.state}`, { jobId, attempt });
      return { status: 'recorded' };
    }
    const before = await this.database.one(already, [jobId, attempt, workerId]);
    if (before) return { status: 'recorded' };
    this.logger.warn('a report of an attempt that is not current was refused', { jobId, attempt });
    return { status: 'refused' };
  }
}
