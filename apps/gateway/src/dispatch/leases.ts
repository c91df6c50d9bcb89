import { Inject, Injectable, Logger } from '@nestjs/common';
import { CONTROL_EXCHANGE, type Route } from '#shared/amqp/topology.js';
import { BROKER, UnroutableError, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import type { Heartbeat, Paused, Register } from '#shared/messages/messages.js';
import type { Subscription } from 'rxjs';
import { Database } from '../database/database.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { JobLifecycle } from '../jobs/job-lifecycle.js';
import { goneAfter } from '../workers/gone-after.js';
import { Aftermath } from './aftermath.js';

const RENEW = `
  WITH held AS (SELECT * FROM unnest($2::uuid[], $3::integer[]) AS h (job_id, attempt)),
  locked AS (
    SELECT j.id FROM jobs j JOIN held h ON j.id = h.job_id AND j.attempt = h.attempt
    WHERE j.worker_id = $1 AND j.lease_expires_at IS NOT NULL ORDER BY j.id FOR UPDATE OF j
  ), renewed AS (
    UPDATE jobs SET lease_expires_at = now() + make_interval(secs => $4) FROM locked WHERE jobs.id = locked.id
    RETURNING jobs.id, jobs.state, jobs.cancel_requested_at, jobs.pause_attempt
  )
  SELECT h.job_id AS "jobId", h.attempt, r.id IS NOT NULL AS current, r.cancel_requested_at IS NOT NULL AS cancel,
         r.pause_attempt IS NOT DISTINCT FROM h.attempt AS pause, r.state = 'paused' AS "isPaused"
  FROM held h LEFT JOIN renewed r ON r.id = h.job_id`;

/**
 * Seconds in which a worker finds its way back to a broker that was away: its pauses between two tries grow up to
 * five, and the broker may take its time over the first connections.
 */
const COMING_BACK = 10;

/** Milliseconds after which an answer of the database is a late one. */
const LATE_MS = 2000;

/** Confirmed by a broker that takes messages, and then dropped by it. */
const TO_NOBODY: Route = {
  exchange: CONTROL_EXCHANGE.name,
  key: 'nobody',
  confirmed: true,
  persistent: false,
};

interface Renewed {
  jobId: string;
  attempt: number;
  current: boolean;
  cancel: boolean;
  /** It is to be paused. */
  pause: boolean;
  /** As far as was recorded. */
  isPaused: boolean;
}

/**
 * A lease holds an attempt for its worker as long as heartbeats come. Time in which this gateway could not have
 * heard one does not count: neither a broker's restart nor our own ends anybody's job.
 */
@Injectable()
export class Leases {
  private readonly logger = new Logger(Leases.name);
  private readonly status: Subscription;
  /** Since when heartbeats could have been heard without a gap; undefined while they cannot. */
  private hearingSince: number | undefined;
  private lastRound: number | undefined;

  constructor(
    private readonly database: Database,
    private readonly lifecycle: JobLifecycle,
    private readonly aftermath: Aftermath,
    private readonly channel: ChannelClient,
    @Inject(BROKER) private readonly broker: Broker,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {
    this.status = broker.status.subscribe((status) => {
      this.hearingSince = status === 'connected' ? Date.now() : undefined;
    });
  }

  /** Renews what the worker holds; tells it what it has not heard, and records what it could not say. */
  async renew({ workerId, attempts }: Heartbeat): Promise<void> {
    if (attempts.length === 0) return;
    const rows = await this.database.query<Renewed>(RENEW, [
      workerId,
      attempts.map((held) => held.jobId),
      attempts.map((held) => held.attempt),
      this.config.lease,
    ]);
    const paused = new Set(attempts.filter((held) => held.paused).map(({ jobId }) => jobId));
    for (const row of rows) await this.mend(row, paused.has(row.jobId), workerId);
  }

  /**
   * What the worker does not know of died with its last run, perhaps on its way to it: nobody waits for those leases.
   * @param at when it was registered
   */
  async startedAnew({ workerId, attempts = [] }: Register, at: Date): Promise<void> {
    const jobIds = attempts.map(({ jobId }) => jobId);
    await this.aftermath.of(await this.lifecycle.loseAllBut(workerId, jobIds, at));
  }

  /** The worker has stopped an attempt's tree, or let it go on. */
  async confirm(verb: 'pause' | 'resume', word: Paused): Promise<void> {
    const moved = await this.lifecycle[verb](word);
    if (moved) await this.aftermath.of([moved]);
  }

  /** What row and heartbeat disagree on was lost between them. */
  private async mend(row: Renewed, paused: boolean, workerId: string): Promise<void> {
    const { jobId, attempt, current, cancel, pause, isPaused } = row;
    const tell = (order: 'abandon' | 'cancel' | 'pause' | 'resume') =>
      this.channel.tell(order, { jobId, attempt }, workerId);
    if (!current) {
      await tell('abandon');
      this.logger.warn('its worker is told to end a stale attempt', { jobId, attempt });
    } else if (cancel) await tell('cancel');
    else if (pause !== paused) await tell(pause ? 'pause' : 'resume');
    else if (pause !== isPaused) await this.confirm(pause ? 'pause' : 'resume', { jobId, attempt, workerId });
  }

  /** One round of the reaper. @param roundSeconds how often it is called */
  async reap(roundSeconds: number): Promise<void> {
    const now = Date.now();
    const asleep = this.lastRound !== undefined && now - this.lastRound > 3 * roundSeconds * 1000 + 1000;
    this.lastRound = now;
    if (asleep && this.hearingSince !== undefined) this.hearingSince = now;
    if (this.hearingSince === undefined) return;
    const heard = (now - this.hearingSince) / 1000;
    try {
      await this.takeBack(heard);
    } catch (error) {
      // Without the database no heartbeat could be recorded either.
      this.hearingSince = Date.now();
      throw error;
    }
  }

  /** @param heard seconds for which heartbeats could be heard */
  private async takeBack(heard: number): Promise<void> {
    const { lease } = this.config;
    const gone = Math.min(goneAfter(this.config), lease);
    // In every round: time in which the database was away does not count either.
    if (!(await this.brokerTakesMessages())) return;
    const asOf = await this.databaseTime();
    if (!asOf || heard < Math.max(gone, COMING_BACK)) return;
    // A canceled job need not wait for its lease: should its worker come back, it finds that the job is over.
    const moved = await this.lifecycle.reclaimCanceled(new Date(asOf.getTime() + (lease - gone) * 1000));
    if (heard >= Math.max(lease, COMING_BACK)) moved.push(...(await this.lifecycle.reclaim(asOf)));
    for (const job of moved) {
      this.logger.warn(`its worker is gone, the job is ${job.state}`, {
        jobId: job.id,
        attempt: job.attempt,
      });
    }
    await this.aftermath.of(moved);
  }

  /** One that is short of disk or memory keeps its connections and takes no messages: no heartbeats either. */
  private async brokerTakesMessages(): Promise<boolean> {
    try {
      await this.broker.publish(TO_NOBODY, { type: 'heartbeat', headers: {}, content: Buffer.alloc(0) });
      return true;
    } catch (error) {
      if (error instanceof UnroutableError) return true;
      this.hearingSince = Date.now();
      return false;
    }
  }

  /**
   * Asked for before leases are compared with it: a database that was frozen finds that all of them ran out, in time
   * in which it recorded no heartbeat. Undefined when it answered so late that this may be such a time.
   */
  private async databaseTime(): Promise<Date | undefined> {
    const asked = Date.now();
    const row = await this.database.one<{ now: Date }>('SELECT clock_timestamp() AS now');
    if (Date.now() - asked < LATE_MS) return row!.now;
    this.hearingSince = Date.now();
    return undefined;
  }

  close(): void {
    this.status.unsubscribe();
  }
}
