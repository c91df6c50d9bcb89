import { Injectable, Logger } from '@nestjs/common';
import { ChannelClient } from '#shared/channel/channel-client.js';
import type { JobState } from '#shared/job/job-state.js';
import type { Viewer } from '../auth/viewer.js';
import { Aftermath } from '../dispatch/aftermath.js';
import { Problem } from '../http/problem.js';
import { JobLifecycle } from './job-lifecycle.js';
import { JobQueries } from './job-queries.js';
import type { MovedJob } from './job-row.js';
import type { JobView } from './job-view.js';

/** The verbs that clients have for a job; each is idempotent and answers with the job as it is then. */
@Injectable()
export class JobControl {
  private readonly logger = new Logger(JobControl.name);

  constructor(
    private readonly lifecycle: JobLifecycle,
    private readonly queries: JobQueries,
    private readonly aftermath: Aftermath,
    private readonly channel: ChannelClient,
  ) {}

  /** @throws {Problem} 404; 409 when it ended otherwise */
  async cancel(id: string, viewer: Viewer): Promise<JobView> {
    await this.queries.row(id, viewer);
    const moved = await this.lifecycle.cancel(id);
    if (moved?.event_id) await this.aftermath.of([moved]);
    else if (moved) this.tellWorker(moved);
    return this.reached(id, viewer, ['canceled', 'running', 'paused'], 'cancel');
  }

  /** @throws {Problem} 404; 409 when it no longer waits */
  async hold(id: string, viewer: Viewer): Promise<JobView> {
    await this.queries.row(id, viewer);
    await this.after(await this.lifecycle.hold(id));
    return this.reached(id, viewer, ['held'], 'hold');
  }

  /** @throws {Problem} 404; 409 when it was never held or is over */
  async release(id: string, viewer: Viewer): Promise<JobView> {
    await this.queries.row(id, viewer);
    await this.after(await this.lifecycle.release(id));
    return this.reached(id, viewer, ['queued', 'running', 'paused'], 'release');
  }

  private async after(moved: MovedJob | undefined): Promise<void> {
    if (moved) await this.aftermath.of([moved]);
  }

  /** Lost on the way it costs a heartbeat: the answer to the next one says it again. */
  private tellWorker({ id: jobId, attempt, worker_id }: MovedJob): void {
    this.channel.tell('cancel', { jobId, attempt }, worker_id!).catch((error: Error) => {
      this.logger.debug(`its worker was not told to cancel: ${error.message}`, { jobId, attempt });
    });
  }

  private async reached(
    id: string,
    viewer: Viewer,
    states: readonly JobState[],
    verb: string,
  ): Promise<JobView> {
    const job = await this.queries.view(id, viewer);
    if (states.includes(job.state)) return job;
    throw new Problem(409, 'state_conflict', `The job is ${job.state}; ${verb} is not possible any more.`);
  }
}
