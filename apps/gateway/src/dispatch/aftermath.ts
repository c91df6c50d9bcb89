import { Injectable, Logger } from '@nestjs/common';
import { isFinal } from '#shared/job/job-state.js';
import { Deliveries } from '../callbacks/deliveries.js';
import { JobEvents } from '../events/job-events.js';
import type { Told } from '../database/database.js';
import type { MovedJob } from '../jobs/job-row.js';
import { Metrics } from '../metrics/metrics.js';
import { Queues } from '../queues/queues.js';
import { Tickets } from './tickets.js';

/** What follows a move: tickets once it has committed; events, first tries of callbacks and counts once it is kept. */
@Injectable()
export class Aftermath {
  private readonly logger = new Logger(Aftermath.name);

  constructor(
    private readonly events: JobEvents,
    private readonly deliveries: Deliveries,
    private readonly tickets: Tickets,
    private readonly queues: Queues,
    private readonly metrics: Metrics,
  ) {}

  /** For those who make light moves. */
  readonly told: Told<MovedJob> = {
    committed: (moved) => void this.ofCommitted(moved),
    kept: (moved) => this.ofKept(moved),
  };

  /** Of moves that are on the disk when they are known at all. */
  async of(moved: readonly MovedJob[]): Promise<void> {
    const published = this.ofCommitted(moved);
    this.ofKept(moved);
    await published;
  }

  /** They may still vanish, and a ticket then leads nowhere. Never rejects: tickets that are missing are published later. */
  private async ofCommitted(moved: readonly MovedJob[]): Promise<void> {
    try {
      await Promise.all(moved.map((job) => this.ticketFor(job)));
    } catch (error) {
      this.logger.debug(`tickets are left to the reconciler: ${(error as Error).message}`);
    }
  }

  private ofKept(moved: readonly MovedJob[]): void {
    this.events.publish(moved);
    if (moved.some((job) => job.callback)) this.deliveries.nudge();
    for (const job of moved) if (isFinal(job.state)) this.count(job);
  }

  private count(job: MovedJob): void {
    this.metrics.jobsFinished.inc({ queue: job.queue, state: job.state, reason: job.reason ?? '' });
    if (job.started_at && job.finished_at) {
      this.metrics.jobRunSeconds.observe({ queue: job.queue }, seconds(job.started_at, job.finished_at));
      this.metrics.jobWaitSeconds.observe({ queue: job.queue }, seconds(job.available_at, job.started_at));
    }
  }

  /**
   * A job that is ready again needs a ticket; one that ended may have made room in its owner's lane, or at a worker
   * that other tickets have missed.
   */
  private async ticketFor(job: MovedJob): Promise<void> {
    if (job.ready) return this.tickets.publish(job.queue);
    if (job.state === 'running' || job.state === 'paused') return;
    const { settings } = await this.queues.get(job.queue);
    if (settings.maxRunningPerOwner !== undefined || this.tickets.isPicky(job.queue))
      await this.tickets.publish(job.queue);
  }
}

function seconds(from: Date, to: Date): number {
  return Math.max(0, (to.getTime() - from.getTime()) / 1000);
}
