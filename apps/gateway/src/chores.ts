import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Chore } from './chore.js';
import { Database } from './database/database.js';
import { OrphanFiles } from './files/orphan-files.js';
import { GATEWAY_CONFIG, type GatewayConfig } from './gateway.config.js';
import { Idempotency } from './jobs/idempotency.js';
import { JobLifecycle } from './jobs/job-lifecycle.js';
import { LiveLogs } from './logs/live-logs.js';
import { Workers } from './workers/workers.js';
import { Aftermath } from './dispatch/aftermath.js';
import { Leases } from './dispatch/leases.js';
import { Tickets } from './dispatch/tickets.js';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** All that the gateway does without being asked, and how often. Every gateway does it; doing it twice is harmless. */
@Injectable()
export class Chores implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly chores: readonly Chore[];

  constructor(
    @Inject(GATEWAY_CONFIG) config: GatewayConfig,
    private readonly database: Database,
    private readonly lifecycle: JobLifecycle,
    private readonly aftermath: Aftermath,
    private readonly tickets: Tickets,
    private readonly leases: Leases,
    liveLogs: LiveLogs,
    workers: Workers,
    idempotency: Idempotency,
    private readonly orphans: OrphanFiles,
  ) {
    const reapSeconds = Math.min(config.heartbeat, 1);
    this.chores = [
      new Chore('tickets', config.reconcile * SECOND, () => this.tickets.reconcile()),
      new Chore('due jobs', SECOND, () => this.comeDue()),
      new Chore('leases', reapSeconds * SECOND, () => this.leases.reap(reapSeconds)),
      new Chore('live logs', 30 * SECOND, () => liveLogs.sweep()),
      new Chore('old keys', HOUR, () => idempotency.forget()),
      new Chore('old workers', HOUR, () => workers.forget()),
      new Chore('orphan files', HOUR, () => this.sweepFiles()),
    ];
  }

  onApplicationBootstrap(): void {
    for (const chore of this.chores) chore.start();
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.all(this.chores.map((chore) => chore.stop()));
    this.leases.close();
  }

  /** Time passing moves jobs too: some may be claimed now, some have waited too long. */
  private async comeDue(): Promise<void> {
    await this.aftermath.of(await this.lifecycle.expire());
    const queues = await this.lifecycle.stage();
    await Promise.all(queues.map((queue) => this.tickets.publish(queue)));
  }

  private async sweepFiles(): Promise<void> {
    await this.orphans.sweep(async (ids) => {
      const rows = await this.database.query<{ id: string }>(
        'SELECT id FROM jobs WHERE id = ANY ($1::uuid[])',
        [ids],
      );
      return new Set(rows.map((row) => row.id));
    });
  }
}
