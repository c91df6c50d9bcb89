import { Inject, Injectable, Logger } from '@nestjs/common';
import { isFinal } from '#shared/job/job-state.js';
import type {
  Claim,
  Finished,
  FinishedReply,
  Lost,
  Progress,
  RecordedReply,
} from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import { storable } from '../database/storable-text.js';
import { JobEvents } from '../events/job-events.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { JobLifecycle } from '../jobs/job-lifecycle.js';
import type { MovedJob } from '../jobs/job-row.js';
import { goneAfter } from '../workers/gone-after.js';
import { Aftermath } from './aftermath.js';
import { Batcher } from './batcher.js';
import { Claims, type Taken } from './claims.js';

/** Whether a report that moved nothing was one that had been recorded before. */
const ALREADY_RECORDED = `
  SELECT FROM attempts WHERE job_id = $1 AND attempt = $2 AND worker_id = $3
    AND ending IN ('succeeded', 'failed', 'canceled')`;

const ALREADY_GIVEN_BACK = `
  SELECT FROM attempts WHERE job_id = $1 AND attempt = $2 AND worker_id = $3 AND ending IS NOT NULL`;

const PROGRESS = `
  UPDATE jobs SET progress = $3 WHERE id = $1 AND attempt = $2 AND state IN ('running', 'paused')`;

/** What became of a report and of the claim that came with it. */
interface Recorded {
  readonly moved: MovedJob | undefined;
  /** Where the claim was answered. */
  readonly given?: { readonly taken: Taken };
}

/** Records what workers say of their attempts, under the attempt's fence, so that repeating says nothing new. */
@Injectable()
export class Reports {
  private readonly logger = new Logger(Reports.name);
  private readonly batcher = new Batcher<Finished, Recorded>((reports) => this.record(reports));

  constructor(
    private readonly database: Database,
    private readonly lifecycle: JobLifecycle,
    private readonly aftermath: Aftermath,
    private readonly events: JobEvents,
    private readonly claims: Claims,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  async finished(report: Finished): Promise<FinishedReply> {
    const { moved, given } = await this.batcher.add(report);
    const recorded = await this.reply(moved, report, ALREADY_RECORDED);
    if (!report.next || !given) return recorded;
    const { mayWait, ...next } = report.next;
    const claim = { ...next, workerId: report.workerId };
    return { ...recorded, ...(await this.claims.replyToSlot(claim, given.taken, mayWait)) };
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

  private async record(reports: Finished[]): Promise<Recorded[]> {
    const claims = reports.flatMap(claimOf);
    const { told } = this.aftermath;
    const awaited = reports.map(({ jobId }) => jobId).filter((id) => this.events.isAwaited(id));
    if (claims.length === 0)
      return recorded(reports, await this.lifecycle.finish(reports, awaited, told), new Map());
    const { lease } = this.config;
    const terms = { lease, heardWithin: goneAfter(this.config) };
    const [moved, taken] = await this.lifecycle.finishAndClaim(reports, claims, terms, awaited, told);
    if (taken instanceof Error) {
      // The workers will claim by themselves.
      this.logger.warn(`claims that came with reports were not answered: ${taken.message}`);
      return recorded(reports, moved, new Map());
    }
    this.claims.given(taken);
    return recorded(reports, moved, new Map(claims.map(({ claimId }, nth) => [claimId, taken[nth]])));
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

function recorded(
  reports: readonly Finished[],
  moved: readonly MovedJob[],
  answers: ReadonlyMap<string, Taken>,
): Recorded[] {
  const byId = new Map(moved.map((job) => [job.id, job]));
  return reports.map(({ jobId, next }) => ({
    moved: byId.get(jobId),
    ...(next && answers.has(next.claimId) ? { given: { taken: answers.get(next.claimId) } } : {}),
  }));
}

function claimOf({ workerId, next }: Finished): Claim[] {
  return next ? [{ ...next, workerId }] : [];
}
