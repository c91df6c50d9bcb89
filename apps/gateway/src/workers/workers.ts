import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Heartbeat, Register, RegisterReply } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { Queues } from '../queues/queues.js';

export interface WorkerRow {
  id: string;
  host: string;
  version: string;
  queues: Record<string, { slots: number }>;
  capabilities: Record<string, boolean | string>;
  draining: boolean;
  started_at: Date;
  heard_at: Date;
  running: number;
}

/** After this many missed heartbeats a worker no longer counts as there. */
const MISSED_HEARTBEATS = 3;

/** Who serves what. */
@Injectable()
export class Workers {
  private readonly logger = new Logger(Workers.name);

  constructor(
    private readonly database: Database,
    private readonly queues: Queues,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  async register(worker: Register): Promise<RegisterReply> {
    for (const [name, { settings }] of Object.entries(worker.queues))
      await this.queues.register(name, settings);
    const slots = Object.fromEntries(
      Object.entries(worker.queues).map(([name, queue]) => [name, { slots: queue.slots }]),
    );
    await this.database.query(
      `INSERT INTO workers (id, host, version, queues, capabilities, started_at) VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (id) DO UPDATE SET host = excluded.host, version = excluded.version, queues = excluded.queues,
         capabilities = excluded.capabilities, started_at = excluded.started_at, draining = false,
         registered_at = now(), heard_at = now()`,
      [
        worker.workerId,
        worker.host,
        worker.version,
        JSON.stringify(slots),
        JSON.stringify(worker.capabilities),
        worker.startedAt,
      ],
    );
    this.logger.log(`worker ${worker.workerId} serves ${Object.keys(worker.queues).join(', ')}`);
    return { heartbeatSeconds: this.config.heartbeat, leaseSeconds: this.config.lease };
  }

  async heard({ workerId, draining }: Heartbeat): Promise<void> {
    await this.database.query('UPDATE workers SET heard_at = now(), draining = $2 WHERE id = $1', [
      workerId,
      draining,
    ]);
  }

  /** Those heard of lately, with what runs on them. */
  async present(): Promise<WorkerRow[]> {
    return this.database.query<WorkerRow>(
      `SELECT w.*, (SELECT count(*)::integer FROM jobs j WHERE j.worker_id = w.id AND j.lease_expires_at IS NOT NULL) AS running
       FROM workers w WHERE w.heard_at > now() - make_interval(secs => $1) ORDER BY w.id`,
      [this.config.heartbeat * MISSED_HEARTBEATS + 1],
    );
  }

  /** Forgets those that have been away for a day and hold nothing. */
  async forget(): Promise<void> {
    await this.database.query(`DELETE FROM workers WHERE heard_at < now() - interval '1 day'`);
  }
}
