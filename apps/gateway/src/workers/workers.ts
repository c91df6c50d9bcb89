import { Inject, Injectable, Logger } from '@nestjs/common';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { maskOf } from '#shared/job/requirements.js';
import type { Heartbeat, Register, RegisterReply } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { Tickets } from '../dispatch/tickets.js';
import { Problem } from '../http/problem.js';
import { Queues } from '../queues/queues.js';
import { goneAfter } from './gone-after.js';

export interface WorkerRow {
  id: string;
  host: string;
  version: string;
  image: string | null;
  queues: Record<string, { slots: number }>;
  capabilities: Record<string, boolean | string>;
  /** Bits of libs/shared/src/job/requirements.ts. */
  enforces: number;
  /** It takes no more jobs, or is to do so. */
  draining: boolean;
  started_at: Date;
  heard_at: Date;
  running: number;
}

const WORKERS = `
  SELECT w.*, w.draining OR w.drain_requested AS draining,
         (SELECT count(*)::integer FROM jobs j WHERE j.worker_id = w.id AND j.lease_expires_at IS NOT NULL) AS running
  FROM workers w`;

/** Who serves what. */
@Injectable()
export class Workers {
  private readonly logger = new Logger(Workers.name);

  constructor(
    private readonly database: Database,
    private readonly queues: Queues,
    private readonly channel: ChannelClient,
    private readonly tickets: Tickets,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  /** @returns the answer, and when it was registered if that is the first time of this run of it */
  async register(worker: Register): Promise<{ reply: RegisterReply; anewAt: Date | undefined }> {
    for (const [name, { settings }] of Object.entries(worker.queues)) {
      await this.queues.register(name, settings);
      await this.tickets.open(name);
    }
    const slots = Object.fromEntries(
      Object.entries(worker.queues).map(([name, queue]) => [name, { slots: queue.slots }]),
    );
    const row = await this.database.one<{ registered_at: Date; anew: boolean }>(
      `WITH before AS (SELECT started_at FROM workers WHERE id = $1)
       INSERT INTO workers (id, host, version, queues, capabilities, started_at, image, enforces)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
       ON CONFLICT (id) DO UPDATE SET host = excluded.host, version = excluded.version, queues = excluded.queues,
         capabilities = excluded.capabilities, started_at = excluded.started_at, image = excluded.image,
         enforces = excluded.enforces,
         draining = workers.draining AND workers.started_at = excluded.started_at,
         drain_requested = workers.drain_requested AND workers.started_at = excluded.started_at,
         registered_at = now(), heard_at = now()
       RETURNING registered_at, started_at IS DISTINCT FROM (SELECT started_at FROM before) AS anew`,
      [
        worker.workerId,
        worker.host,
        worker.version,
        JSON.stringify(slots),
        JSON.stringify(worker.capabilities),
        worker.startedAt,
        worker.image,
        maskOf(String(worker.capabilities.enforces ?? '').split(' ')),
      ],
    );
    this.logger.log(`worker ${worker.workerId} serves ${Object.keys(worker.queues).join(', ')}`);
    const reply = { heartbeatSeconds: this.config.heartbeat, leaseSeconds: this.config.lease };
    return { reply, anewAt: row!.anew ? row!.registered_at : undefined };
  }

  /** Notes its heartbeat; an order to drain that it did not hear is said again. */
  async heard({ workerId, draining }: Heartbeat): Promise<void> {
    const row = await this.database.one<{ drain_requested: boolean; drain_timeout: number | null }>(
      'UPDATE workers SET heard_at = now(), draining = $2 WHERE id = $1 RETURNING drain_requested, drain_timeout',
      [workerId, draining],
    );
    if (row?.drain_requested && !draining) await this.tellToDrain(workerId, row.drain_timeout);
  }

  /**
   * Has a worker take no more jobs and stop when those that run have ended; there is no way back but its restart.
   * @param timeout seconds until what still runs is handed back; undefined for the worker's own setting
   * @throws {Problem} 404
   */
  async drain(id: string, timeout: number | undefined): Promise<WorkerRow> {
    const known = await this.database.one<{ drain_timeout: number | null }>(
      'UPDATE workers SET drain_requested = true, drain_timeout = $2 WHERE id = $1 RETURNING drain_timeout',
      [id, timeout ?? null],
    );
    if (!known) {
      throw new Problem(
        404,
        'not_found',
        `There is no worker ${JSON.stringify(id)}; GET /v1/workers lists those that were heard of lately.`,
      );
    }
    await this.tellToDrain(id, known.drain_timeout).catch((error: Error) => {
      this.logger.debug(`worker ${id} was not told to drain: ${error.message}`);
    });
    const [worker] = await this.database.query<WorkerRow>(`${WORKERS} WHERE w.id = $1`, [id]);
    return worker!;
  }

  /** Those heard of lately, with what runs on them. */
  async present(): Promise<WorkerRow[]> {
    return this.database.query<WorkerRow>(
      `${WORKERS} WHERE w.heard_at > now() - make_interval(secs => $1) ORDER BY w.id`,
      [goneAfter(this.config)],
    );
  }

  private tellToDrain(id: string, timeout: number | null): Promise<void> {
    return this.channel.tell('drain', timeout === null ? {} : { timeout }, id);
  }

  /** Forgets those that have been away for a day and hold nothing. */
  async forget(): Promise<void> {
    await this.database.query(`DELETE FROM workers WHERE heard_at < now() - interval '1 day'`);
  }
}
