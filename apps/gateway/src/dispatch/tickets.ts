import { Inject, Injectable, Logger } from '@nestjs/common';
import { ticketsQueue } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { Database } from '../database/database.js';

/**
 * Tickets that lie in one queue at most by the reconciler's doing: enough to keep every worker busy until its next
 * round, however long the backlog is.
 */
const MOST_TICKETS = 5000;

/** How many jobs could be claimed now, per queue: those that wait, within their lanes' caps. */
const CLAIMABLE = `
  SELECT queue, sum(CASE WHEN cap IS NULL THEN waiting ELSE least(waiting, cap - running) END)::integer AS jobs
  FROM lanes WHERE waiting > 0 AND (cap IS NULL OR running < cap) GROUP BY queue`;

/**
 * Tickets say that there is work, never which. They are interchangeable and disposable: one too many ends as an
 * empty claim, one too few is published by the next reconciliation.
 */
@Injectable()
export class Tickets {
  private readonly logger = new Logger(Tickets.name);

  constructor(
    private readonly database: Database,
    @Inject(BROKER) private readonly broker: Broker,
    private readonly channel: ChannelClient,
  ) {}

  /** Resolves when the broker has it, or has failed to take it: then reconciliation sees to it. */
  async publish(queue: string): Promise<void> {
    await this.channel.tell('ticket', { queue }).catch((error: Error) => {
      this.logger.debug(`a ticket for ${queue} was not published: ${error.message}`);
    });
  }

  /** Sees that there is a queue for them: workers may not make it. */
  async open(queue: string): Promise<void> {
    await this.broker.depth(ticketsQueue(queue));
  }

  /** The jobs table is the outbox: publishes the tickets that are missing. */
  async reconcile(): Promise<void> {
    const claimable = await this.database.query<{ queue: string; jobs: number }>(CLAIMABLE);
    for (const { queue, jobs } of claimable) {
      const there = await this.broker.depth(ticketsQueue(queue));
      const missing = Math.min(jobs, MOST_TICKETS) - there;
      if (missing <= 0) continue;
      await Promise.all(Array.from({ length: missing }, () => this.channel.tell('ticket', { queue })));
      this.logger.debug(`${missing} tickets for ${queue} were missing and are published`);
    }
  }
}
