import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import type { TryResult } from './callback-sender.js';
import type { Verdict } from './retry-schedule.js';

/** A delivery whose try has begun. */
export interface DueDelivery {
  readonly id: string;
  readonly jobId: string;
  readonly url: string;
  readonly host: string;
  /** Tries begun, this one included; what is recorded of a try is fenced by it. */
  readonly tries: number;
  readonly eventId: string;
  readonly eventState: string;
  readonly eventAt: Date;
  readonly jobSecret: string | null;
}

export interface TakeLimits {
  readonly room: number;
  readonly perHost: number;
  /** Tries under way by host. */
  readonly busy: Readonly<Record<string, number>>;
  readonly holdMs: number;
}

const MAX_HISTORY = 50;

/** The rows of deliveries that are not over. A gateway that dies with a try under way only delays it. */
@Injectable()
export class DueDeliveries {
  constructor(private readonly database: Database) {}

  /** Begins tries: those longest due, of each host no more than it has room for. */
  async take({ room, perHost, busy, holdMs }: TakeLimits): Promise<DueDelivery[]> {
    return this.database.prepared<DueDelivery>('take-deliveries', TAKE, [
      room,
      perHost,
      JSON.stringify(busy),
      holdMs,
    ]);
  }

  /** Milliseconds until the next try that is not due yet; undefined when there is none. */
  async msUntilNext(): Promise<number | undefined> {
    const row = await this.database.one<{ ms: number | null }>(
      `SELECT ceil(extract(epoch FROM min(next_try_at) - clock_timestamp()) * 1000)::float8 AS ms
       FROM deliveries WHERE state = 'due' AND next_try_at > now()`,
    );
    return row?.ms ?? undefined;
  }

  async record(delivery: DueDelivery, result: TryResult, verdict: Verdict): Promise<void> {
    const error = result.outcome === 'delivered' ? null : result.error;
    await this.database.query(RECORD, [
      delivery.id,
      delivery.tries,
      verdict.state,
      verdict.state === 'due' ? verdict.delaySeconds : 0,
      result.status ?? null,
      error,
    ]);
  }

  /** The receiver wants nothing more at this address, so the others that are due there have failed too. */
  async giveUpOn(url: string, host: string): Promise<void> {
    await this.database.query(
      `UPDATE deliveries SET state = 'failed', finished_at = now(),
         last_error = 'the receiver answered 410 to another delivery: it wants nothing more at this address'
       WHERE host = $2 AND url = $1 AND state = 'due'`,
      [url, host],
    );
  }

  /** As if the try had not been made. */
  async handBack(delivery: DueDelivery, delaySeconds: number): Promise<void> {
    await this.database.query(
      `UPDATE deliveries SET tries = tries - 1, next_try_at = now() + $3 * interval '1 second'
       WHERE id = $1 AND tries = $2 AND state = 'due'`,
      [delivery.id, delivery.tries, delaySeconds],
    );
  }
}

/**
 * Hosts first, by skipping through the index, then each host's own line: a receiver with a long backlog costs the
 * others nothing, neither here nor in their turn.
 */
const TAKE = `
WITH RECURSIVE hosts (host) AS (
  (SELECT host FROM deliveries WHERE state = 'due' ORDER BY host LIMIT 1)
  UNION ALL
  SELECT (SELECT later.host FROM deliveries later
          WHERE later.state = 'due' AND later.host > hosts.host ORDER BY later.host LIMIT 1)
  FROM hosts WHERE hosts.host IS NOT NULL
), taken AS MATERIALIZED (
  SELECT line.id FROM hosts
  CROSS JOIN LATERAL (
    SELECT id, next_try_at FROM deliveries
    WHERE host = hosts.host AND state = 'due' AND next_try_at <= now()
    ORDER BY next_try_at
    LIMIT greatest(0, $2::integer - coalesce(($3::jsonb ->> hosts.host)::integer, 0))
    FOR UPDATE SKIP LOCKED
  ) AS line
  ORDER BY line.next_try_at LIMIT $1::integer
)
UPDATE deliveries d SET tries = tries + 1, next_try_at = now() + $4::float8 * interval '1 millisecond'
FROM taken, events e, jobs j
WHERE d.id = taken.id AND e.id = d.event_id AND j.id = d.job_id
RETURNING d.id, d.job_id AS "jobId", d.url, d.host, d.tries, e.id AS "eventId", e.state AS "eventState",
  e.at AS "eventAt", j.callback->>'secret' AS "jobSecret"`;

const RECORD = `
UPDATE deliveries SET state = $3, next_try_at = now() + $4::float8 * interval '1 second',
  last_status = $5::integer, last_error = $6::text,
  finished_at = CASE WHEN $3 <> 'due' THEN now() END,
  history = (CASE WHEN jsonb_array_length(history) >= ${MAX_HISTORY} THEN history - 0 ELSE history END)
    || jsonb_build_object('at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                          'status', $5::integer, 'error', $6::text)
WHERE id = $1 AND tries = $2 AND state = 'due'`;
