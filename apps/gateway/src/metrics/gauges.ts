import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { ticketsQueue } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { Database } from '../database/database.js';
import { Queues } from '../queues/queues.js';
import { Workers } from '../workers/workers.js';
import { Metrics } from './metrics.js';

/** What the whole service is like now, read when asked for. */
@Injectable()
export class Gauges implements OnModuleInit {
  constructor(
    private readonly metrics: Metrics,
    private readonly database: Database,
    private readonly queues: Queues,
    private readonly workers: Workers,
    @Inject(BROKER) private readonly broker: Broker,
  ) {}

  onModuleInit(): void {
    this.metrics.registerGauge('labhand_jobs_waiting', 'Jobs that could be claimed now', ['queue'], () =>
      this.lanes('waiting'),
    );
    this.metrics.registerGauge('labhand_jobs_running', 'Attempts under way', ['queue'], () =>
      this.lanes('running'),
    );
    this.metrics.registerGauge(
      'labhand_tickets',
      'Tickets that wait for a free slot',
      ['queue'],
      async () => {
        const queues = await this.queues.list();
        return Promise.all(
          queues.map(async ({ name }) => ({
            labels: { queue: name },
            value: await this.broker.depth(ticketsQueue(name)),
          })),
        );
      },
    );
    this.metrics.registerGauge(
      'labhand_slots',
      'Slots of the workers that are there',
      ['queue'],
      async () => {
        const slots = new Map<string, number>();
        for (const { queues } of await this.workers.present()) {
          for (const [name, queue] of Object.entries(queues))
            slots.set(name, (slots.get(name) ?? 0) + queue.slots);
        }
        return [...slots].map(([queue, value]) => ({ labels: { queue }, value }));
      },
    );
  }

  private async lanes(column: 'waiting' | 'running') {
    const rows = await this.database.query<{ queue: string; value: number }>(
      `SELECT q.name AS queue, coalesce(sum(l.${column}), 0)::integer AS value
       FROM queues q LEFT JOIN lanes l ON l.queue = q.name GROUP BY q.name`,
    );
    return rows.map(({ queue, value }) => ({ labels: { queue }, value }));
  }
}
