import { Inject, Injectable, Logger } from '@nestjs/common';
import { EventEmitter } from 'node:events';
import { EVENTS_EXCHANGE } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { decodeMessage } from '#shared/channel/envelope.js';
import { FINAL_STATES, isFinal } from '#shared/job/job-state.js';
import type { JobEvent } from '#shared/messages/messages.js';
import type { MovedJob, WholeJob } from '../jobs/job-row.js';
import { Ear } from './ear.js';
import { Wakeups } from './wakeups.js';

const HEARING = 'hearing';
/** An end that was waited for. */
export interface Ended {
  /** As it is then, where it is known. */
  readonly job?: WholeJob;
}

/**
 * Tells of recorded events: at once to those who wait in this gateway, and through the events exchange to the
 * other gateways and to anyone. Telling may be lost; what it tells of stands in the database.
 */
@Injectable()
export class JobEvents {
  private readonly logger = new Logger(JobEvents.name);
  private readonly waiters = new EventEmitter({ captureRejections: false }).setMaxListeners(0);
  private readonly ear: Ear;

  constructor(
    @Inject(BROKER) broker: Broker,
    private readonly channel: ChannelClient,
    private readonly wakeups: Wakeups,
  ) {
    const ends = { exchange: EVENTS_EXCHANGE.name, keys: FINAL_STATES.map((state) => `#.${state}`) };
    this.ear = new Ear(
      broker,
      [ends],
      (message) => this.waiters.emit((decodeMessage(message) as JobEvent).jobId, {} satisfies Ended),
      () => this.waiters.emit(HEARING),
    );
  }

  /** To be called once the moves are kept. */
  publish(moved: readonly MovedJob[]): void {
    for (const job of moved) {
      if (job.event_id === null) continue;
      const event = toEvent(job, job.event_id);
      if (isFinal(event.state))
        this.waiters.emit(event.jobId, { job: job.whole ?? undefined } satisfies Ended);
      this.wakeups.moved(event.jobId);
      this.channel.tell('event', event).catch((error: Error) => {
        this.logger.debug(`event ${event.id} of job ${event.jobId} was not published: ${error.message}`);
      });
    }
  }

  /** Whether somebody waits for the job's end here. */
  isAwaited(jobId: string): boolean {
    return this.waiters.listenerCount(jobId) > 0;
  }

  /**
   * Resolves at the job's final event, recorded here or by another gateway; with undefined when `signal` fires, or
   * when the event may have been missed because others were not heard until now.
   */
  end(jobId: string, signal: AbortSignal): Promise<Ended | undefined> {
    const hush = this.ear.listen();
    return new Promise((resolve) => {
      const settle = (ended?: Ended) => {
        this.waiters.off(jobId, settle).off(HEARING, onUnknown);
        signal.removeEventListener('abort', onUnknown);
        hush();
        resolve(ended);
      };
      const onUnknown = () => settle();
      this.waiters.on(jobId, settle).on(HEARING, onUnknown);
      signal.addEventListener('abort', onUnknown);
      if (signal.aborted) onUnknown();
    });
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
