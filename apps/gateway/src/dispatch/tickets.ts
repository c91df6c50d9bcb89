import { Inject, Injectable, Logger } from '@nestjs/common';
import { ticketsQueue } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { Database } from '../database/database.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { goneAfter } from '../workers/gone-after.js';

/**
 * Tickets that lie in one queue at most by the reconciler's doing: enough to keep every worker busy until its next
 * round, however long the backlog is.
 */
const MOST_TICKETS = 5000;

/**
 * Where so many lie no slot is free, or it would have taken one: nobody waits for another ticket, and a busy slot goes
 * on without.
 */
const PLENTY = 100;
/** Milliseconds between looks whether there are still plenty. */
const PLENTY_LOOK_MS = 250;

/** Milliseconds between two searches for a worker that a queue's other workers led to. */
const SEARCH_PAUSE_MS = 500;

/** Which workers are there, for which queues. */
const THERE = `
  there AS (
    SELECT w.id, w.enforces, q.key AS queue, (q.value->>'slots')::integer AS slots
    FROM workers w, jsonb_each(w.queues) AS q
    WHERE w.heard_at > now() - make_interval(secs => $1) AND NOT w.draining AND NOT w.drain_requested
  )`;

/**
 * How many jobs could be claimed now, per queue: those that wait, within their lanes' caps, and that every worker of
 * the queue may take. \`picky\`: there are others, that only some may take.
 */
const CLAIMABLE = `
  WITH ${THERE}, waits AS (
    SELECT queue, requires, sum(CASE WHEN cap IS NULL THEN waiting ELSE least(waiting, cap - taken) END) AS jobs
    FROM lanes WHERE claimable GROUP BY queue, requires
  ), served AS (
    SELECT waits.*, count(there.id) AS workers, count(there.id) FILTER (WHERE waits.requires & ~there.enforces = 0) AS able
    FROM waits LEFT JOIN there USING (queue) GROUP BY waits.queue, waits.requires, waits.jobs
  )
  SELECT queue, coalesce(sum(jobs) FILTER (WHERE requires = 0 OR (able > 0 AND able = workers)), 0)::integer AS jobs,
         bool_or(able BETWEEN 1 AND workers - 1) AS picky
  FROM served GROUP BY queue`;

/**
 * Free slots in a queue, where one of them is of a worker that may take what others may not; else no row. So many
 * tickets reach that slot too: the broker hands them out by turns.
 */
const SEARCH = `
  WITH ${THERE}, spare AS (
    SELECT t.enforces, t.slots - (SELECT count(*) FROM jobs j
      WHERE j.worker_id = t.id AND j.queue = t.queue AND j.lease_expires_at IS NOT NULL) AS slots
    FROM there t WHERE t.queue = $2
  )
  SELECT sum(greatest(slots, 0))::integer AS slots FROM spare
  HAVING bool_or(slots > 0 AND EXISTS (SELECT FROM lanes l WHERE l.queue = $2 AND l.requires > 0
    AND l.claimable AND l.requires & ~spare.enforces = 0))`;

/**
 * Tickets say that there is work, never which. They are interchangeable and disposable: one too many ends as an
 * empty claim, one too few is published by the next reconciliation.
 */
@Injectable()
export class Tickets {
  private readonly logger = new Logger(Tickets.name);
  /** Queues with jobs that only some of their workers may take, and when such a worker was last searched for. */
  private picky = new Map<string, number>();
  /** Queues with plenty of tickets, and how many jobs of this gateway got none since. */
  private readonly spared = new Map<string, number>();
  /** Tickets that were published since a queue was looked at. */
  private readonly unlooked = new Map<string, number>();

  constructor(
    private readonly database: Database,
    @Inject(BROKER) private readonly broker: Broker,
    private readonly channel: ChannelClient,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  /**
   * One more, unless there are plenty. Resolves when the broker has it, or has failed to take it: then reconciliation
   * sees to it.
   */
  async publish(queue: string): Promise<void> {
    const spared = this.spared.get(queue);
    if (spared !== undefined) return void this.spared.set(queue, spared + 1);
    const unlooked = (this.unlooked.get(queue) ?? 0) + 1;
    this.unlooked.set(queue, unlooked % PLENTY);
    if (unlooked === PLENTY) void this.look(queue);
    await this.send(queue);
  }

  /**
   * A slot that has a ticket already was given one more job of the queue.
   * @returns whether a ticket lies there for it, which nobody needs any more
   */
  leavesTicket(queue: string): boolean {
    const spared = this.spared.get(queue) ?? 0;
    if (spared > 0) this.spared.set(queue, spared - 1);
    return spared === 0;
  }

  private async send(queue: string): Promise<void> {
    await this.channel.tell('ticket', { queue }).catch((error: Error) => {
      this.logger.debug(`a ticket for ${queue} was not published: ${error.message}`);
    });
  }

  /** Sees that there is a queue for them: workers may not make it. */
  async open(queue: string): Promise<void> {
    await this.broker.depth(ticketsQueue(queue));
  }

  /** Whether tickets of this queue may end at workers that cannot take what waits. */
  isPicky(queue: string): boolean {
    return this.picky.has(queue);
  }

  /** A ticket led to a worker for which there was nothing; another may be able to take what waits. */
  async ledNowhere(queue: string): Promise<void> {
    const searched = this.picky.get(queue);
    if (searched === undefined || Date.now() - searched < SEARCH_PAUSE_MS) return;
    await this.search(queue).catch((error: Error) => {
      this.logger.debug(`no worker was searched for in ${queue}: ${error.message}`);
    });
  }

  /** The jobs table is the outbox: publishes the tickets that are missing. */
  async reconcile(): Promise<void> {
    const claimable = await this.database.query<{ queue: string; jobs: number; picky: boolean }>(CLAIMABLE, [
      goneAfter(this.config),
    ]);
    const picky = claimable.filter((row) => row.picky).map((row) => row.queue);
    this.picky = new Map(picky.map((queue) => [queue, this.picky.get(queue) ?? 0]));
    for (const { queue, jobs } of claimable) await this.fill(queue, Math.min(jobs, MOST_TICKETS));
    for (const queue of picky) await this.search(queue);
  }

  /** While there are plenty it looks again and again; then the jobs that got none get theirs. */
  private async look(queue: string): Promise<void> {
    const depth = await this.broker.depth(ticketsQueue(queue)).catch(() => 0);
    if (depth >= PLENTY) {
      this.spared.set(queue, this.spared.get(queue) ?? 0);
      setTimeout(() => void this.look(queue), PLENTY_LOOK_MS).unref();
      return;
    }
    const missing = this.spared.get(queue) ?? 0;
    this.spared.delete(queue);
    await Promise.all(Array.from({ length: missing }, () => this.send(queue)));
  }

  private async search(queue: string): Promise<void> {
    this.picky.set(queue, Date.now());
    const [free] = await this.database.query<{ slots: number }>(SEARCH, [goneAfter(this.config), queue]);
    if (free) await this.fill(queue, free.slots);
  }

  private async fill(queue: string, wanted: number): Promise<void> {
    if (wanted <= 0) return;
    const depth = await this.broker.depth(ticketsQueue(queue));
    const missing = wanted - depth;
    if (missing <= 0 || depth >= PLENTY) return;
    if (this.spared.has(queue)) this.spared.set(queue, 0);
    await Promise.all(Array.from({ length: missing }, () => this.channel.tell('ticket', { queue })));
    this.logger.debug(`${missing} tickets for ${queue} were missing and are published`);
  }
}
