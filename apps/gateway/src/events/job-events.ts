import { Injectable, Logger } from '@nestjs/common';
import { EventEmitter, once } from 'node:events';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { isFinal } from '#shared/job/job-state.js';
import type { JobEvent } from '#shared/messages/messages.js';
import type { MovedJob } from '../jobs/job-row.js';
import { Wakeups } from './wakeups.js';

/**
 * Tells of recorded events: at once to those who wait in this gateway, and through the events exchange to the
 * other gateways and to anyone. Telling may be lost; what it tells of stands in the database.
 */
@Injectable()
export class JobEvents {
  private readonly logger = new Logger(JobEvents.name);
  private readonly waiters = new EventEmitter({ captureRejections: false }).setMaxListeners(0);

  constructor(
    private readonly channel: ChannelClient,
    private readonly wakeups: Wakeups,
  ) {}

  /** To be called after the move has committed. */
  publish(moved: readonly MovedJob[]): void {
    for (const job of moved) {
      if (job.event_id === null) continue;
      const event = toEvent(job, job.event_id);
      this.heard(event);
      this.channel.tell('event', event).catch((error: Error) => {
        this.logger.debug(`event ${event.id} of job ${event.jobId} was not published: ${error.message}`);
      });
    }
  }

  /** An event came from the exchange, or happened here. */
  heard(event: JobEvent): void {
    if (isFinal(event.state)) this.waiters.emit(event.jobId);
    this.wakeups.moved(event.jobId);
  }

  /** Resolves with true at the job's final event, with false when `signal` fires. */
  async final(jobId: string, signal: AbortSignal): Promise<boolean> {
    return once(this.waiters, jobId, { signal }).then(
      () => true,
      () => false,
    );
  }
}

function toEvent(job: MovedJob, id: string): JobEvent {
  return {
    id,
    jobId: job.id,
    queue: job.queue,
    owner: job.owner,
    state: job.state,
    attempt: job.attempt,
    ...(job.reason ? { reason: job.reason } : {}),
    at: new Date().toISOString(),
  };
}
