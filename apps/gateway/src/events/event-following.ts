import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { isFinal, type JobState } from '#shared/job/job-state.js';
import type { JobEvent } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import type { ServerSentEvent } from '../http/event-stream.js';
import { EventHorizon } from './event-horizon.js';
import { Wakeups } from './wakeups.js';

/** Which events are told; what is undefined does not matter. */
export interface EventFilter {
  readonly jobId?: string;
  readonly owner?: string;
  readonly queues?: readonly string[];
  readonly states?: readonly JobState[];
}

const EVENTS_PER_READ = 500;

const READ = `
  SELECT id, job_id AS "jobId", queue, owner, state, attempt, reason, at FROM events
  WHERE id > $1 AND id <= $2 AND ($3::uuid IS NULL OR job_id = $3) AND ($4::text IS NULL OR owner = $4)
    AND ($5::text[] IS NULL OR queue = ANY ($5)) AND ($6::text[] IS NULL OR state = ANY ($6))
  ORDER BY id LIMIT ${EVENTS_PER_READ}`;

type EventRow = Omit<JobEvent, 'at' | 'reason'> & { readonly at: Date; readonly reason: string | null };

/** Tells the recorded events of jobs in their order, none twice and none left out, and goes on as they come. */
@Injectable()
export class EventFollowing implements OnModuleDestroy {
  private readonly closing = new AbortController();

  constructor(
    private readonly database: Database,
    private readonly horizon: EventHorizon,
    private readonly wakeups: Wakeups,
  ) {}

  /** Followers come back to another gateway, or to the next one here. */
  onModuleDestroy(): void {
    this.closing.abort();
  }

  /** Whether this is the event that the job ended with. */
  async isEnd(jobId: string, id: string): Promise<boolean> {
    const row = await this.database.one<{ state: JobState }>(
      'SELECT state FROM events WHERE job_id = $1 AND id = $2',
      [jobId, id],
    );
    return row !== undefined && isFinal(row.state);
  }

  /**
   * The events of one job up to its final one, or those of many without end.
   * @param after events with higher ids are told
   * @param resumes the client had the event with that id
   * @param gone fires when the client has gone
   */
  async *follow(
    filter: EventFilter,
    { after, resumes }: { after: string; resumes: boolean },
    gone: AbortSignal,
  ): AsyncGenerator<ServerSentEvent | undefined> {
    const wakeup = this.wakeups.follow(filter.jobId);
    const stop = AbortSignal.any([gone, this.closing.signal]);
    try {
      let place = resumes ? yield* this.resume(after) : after;
      while (!stop.aborted) {
        const horizon = await this.horizon.now();
        const events = await this.read(filter, place, horizon);
        for (const event of events) {
          if (!filter.states || filter.states.includes(event.state)) yield { id: event.id, data: event };
          if (filter.jobId !== undefined && isFinal(event.state)) return;
        }
        place = events.length === EVENTS_PER_READ ? events.at(-1)!.id : largerOf(place, horizon);
        if (events.length > 0) continue;
        yield undefined;
        await wakeup.next(stop);
      }
    } finally {
      wakeup.close();
    }
  }

  /** @returns the id after which events are told */
  private async *resume(after: string): AsyncGenerator<ServerSentEvent, string> {
    if (await this.database.one('SELECT FROM events WHERE id = $1', [after])) return after;
    const message = `The event ${after} is not there any more; events that came after it may be missing too.`;
    yield { event: 'dropped', id: after, data: { lastEventId: after, message } };
    // An id that was never given is of another database.
    const horizon = await this.horizon.now();
    return BigInt(after) > BigInt(horizon) ? horizon : after;
  }

  private async read(
    { jobId, owner, queues, states }: EventFilter,
    after: string,
    horizon: string,
  ): Promise<JobEvent[]> {
    const rows = await this.database.prepared<EventRow>('events', READ, [
      after,
      horizon,
      jobId ?? null,
      owner ?? null,
      queues ?? null,
      // Of one job the end has to be seen, whatever is asked for.
      jobId === undefined ? (states ?? null) : null,
    ]);
    return rows.map(({ reason, at, ...event }) => ({
      ...event,
      ...(reason === null ? {} : { reason }),
      at: at.toISOString(),
    }));
  }
}

function largerOf(one: string, other: string): string {
  return BigInt(one) > BigInt(other) ? one : other;
}
