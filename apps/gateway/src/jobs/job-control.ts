import { Injectable, Logger } from '@nestjs/common';
import { BrokerUnavailableError, UnroutableError } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { isFinal, type JobState } from '#shared/job/job-state.js';
import type { SignalOrder } from '#shared/messages/messages.js';
import type { Viewer } from '../auth/viewer.js';
import { Aftermath } from '../dispatch/aftermath.js';
import { Problem } from '../http/problem.js';
import { JobLifecycle } from './job-lifecycle.js';
import { JobQueries } from './job-queries.js';
import type { MovedJob } from './job-row.js';
import type { CanceledView, JobView } from './job-view.js';

/** Milliseconds that a worker gets to say that it has sent a signal. */
const SIGNAL_MS = 5_000;

/** What else may help somebody whose verb comes at the wrong time. */
const INSTEAD: Readonly<Record<string, string>> = {
  pause: '"hold" keeps a queued job from being started.',
  resume: '"release" lets a held job be started.',
  signal: 'a signal needs a command that runs.',
};

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

  /** @returns the job, and what the cancel came to. @throws {Problem} 404; 409 when it ended otherwise */
  async cancel(id: string, viewer: Viewer): Promise<CanceledView> {
    await this.queries.row(id, viewer);
    const moved = await this.lifecycle.cancel(id);
    if (moved?.event_id) await this.aftermath.of([moved]);
    else if (moved) this.tellWorker('cancel', moved);
    const job = await this.reached(id, viewer, ['canceled', 'running', 'paused'], 'cancel');
    return { ...job, cancel: moved?.event_id ? 'canceled' : moved ? 'requested' : 'already_canceled' };
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

  /** Asks for it; the job is paused when its worker has confirmed that. @throws {Problem} 404; 409 unless it runs */
  async pause(id: string, viewer: Viewer): Promise<JobView> {
    await this.queries.row(id, viewer);
    const asked = await this.lifecycle.askPause(id);
    if (asked) this.tellWorker('pause', asked);
    return this.reached(id, viewer, ['running', 'paused'], 'pause');
  }

  /** Asks for it; the job runs when its worker has confirmed that. @throws {Problem} 404; 409 unless it is paused or runs */
  async resume(id: string, viewer: Viewer): Promise<JobView> {
    await this.queries.row(id, viewer);
    const asked = await this.lifecycle.askResume(id);
    if (asked) this.tellWorker('resume', asked);
    return this.reached(id, viewer, ['running', 'paused'], 'resume');
  }

  /**
   * Has the worker send it, once: what is lost on the way is not repeated.
   * @throws {Problem} 404; 409 unless its command runs; 503 when its worker does not answer
   */
  async signal(
    id: string,
    viewer: Viewer,
    { signal, target }: Pick<SignalOrder, 'signal' | 'target'>,
  ): Promise<JobView> {
    const { state, attempt, worker_id } = await this.queries.row(id, viewer);
    if (state !== 'running' && state !== 'paused') throw conflict(state, 'signal');
    const order = { jobId: id, attempt, signal, target };
    const { sent } = await this.channel
      .ask('signal', order, { timeoutMs: SIGNAL_MS, to: worker_id! })
      .catch((error: Error) => {
        throw unheard(error);
      });
    if (sent) return this.queries.view(id, viewer);
    throw new Problem(
      409,
      'state_conflict',
      'The command of this job does not run: its files are fetched or stored at the moment, or it is over.',
    );
  }

  private async after(moved: MovedJob | undefined): Promise<void> {
    if (moved) await this.aftermath.of([moved]);
  }

  /** Lost on the way it costs a heartbeat: the answer to the next one says it again. */
  private tellWorker(
    order: 'cancel' | 'pause' | 'resume',
    { id: jobId, attempt, worker_id }: MovedJob,
  ): void {
    this.channel.tell(order, { jobId, attempt }, worker_id!).catch((error: Error) => {
      this.logger.debug(`its worker was not told to ${order}: ${error.message}`, { jobId, attempt });
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
    throw conflict(job.state, verb);
  }
}

function unheard(error: Error): Problem {
  const why =
    error instanceof UnroutableError || error instanceof BrokerUnavailableError
      ? 'The worker of this job cannot be reached at the moment, so the signal was not sent; send it again in a while.'
      : 'The worker of this job did not answer, so whether the signal was sent is not known; look whether the job ' +
        'still runs, and send it again if it does no harm twice.';
  return new Problem(503, 'unavailable', why, { cause: error });
}

function conflict(state: JobState, verb: string): Problem {
  const why = isFinal(state)
    ? `The job has already ended, it is ${state}; ${verb} is not possible any more.`
    : `The job is ${state}; ${verb} is not possible in this state${INSTEAD[verb] ? `: ${INSTEAD[verb]}` : '.'}`;
  return new Problem(409, 'state_conflict', why);
}
