import { chmodSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CONTROL_EXCHANGE, controlKey, ticketsQueue } from '#shared/amqp/topology.js';
import type { Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { ChannelServer, type Subscription } from '#shared/channel/channel-server.js';
import type { AttemptTools } from './attempt.js';
import { Attempts } from './attempts.js';
import { findCapabilities, type Found } from './capabilities.js';
import { Drain } from './drain.js';
import { FilesClient } from './files-client.js';
import { GatewayLink } from './gateway-link.js';
import { GivenJobs } from './given-jobs.js';
import { Health } from './health.js';
import { Heartbeat } from './heartbeat.js';
import { IdleTimeout } from './idle-timeout.js';
import type { Launcher } from './launcher.js';
import { LiveBudget } from './live-budget.js';
import { Recovery } from './recovery.js';
import { Registration } from './registration.js';
import { Spool } from './spool.js';
import { CONTROL_SUBSCRIPTION, ticketSubscription } from './subscriptions.js';
import { lockStateDir } from './state-lock.js';
import { keptWorkerId } from './worker-id.js';
import type { WorkerSettings } from './worker.config.js';
import { WorkerModule } from './worker.module.js';
import { Workspaces } from './workspace.js';

/** A worker that is put together but not started. */
export class Worker {
  private closing?: Promise<void>;
  private retire!: () => void;
  /** Resolves when it has a reason of its own to stop: an operator's drain, its quota, its idle timeout. */
  readonly retired = new Promise<void>((resolve) => (this.retire = resolve));

  constructor(
    readonly id: string,
    private readonly settings: WorkerSettings,
    private readonly app: INestMicroservice,
    private readonly broker: Broker,
    private readonly tools: Pick<AttemptTools, 'launcher' | 'workspaces' | 'spool'>,
    private readonly found: Promise<Found>,
    private readonly unlock: () => void,
  ) {}

  /** Resolves when tickets are taken, or when closed before; waits for broker and gateway as long as it takes. */
  async start(): Promise<void> {
    try {
      await this.begin();
    } catch (error) {
      if (!this.closing) throw error;
    }
  }

  /** Drains within its drain timeout and stops; the broker is left to whoever made it. */
  close(): Promise<void> {
    this.app.get(Drain).limit(this.settings.drainTimeout);
    return this.leave();
  }

  /** Likewise, in whatever time it was given when it retired. */
  leave(): Promise<void> {
    this.closing ??= this.stop();
    return this.closing;
  }

  /** Cuts a drain short. */
  hurry(): void {
    this.app.get(Drain).hurry();
  }

  private async stop(): Promise<void> {
    try {
      await this.app.get(Drain).drain();
      await this.app.close();
      await this.tools.launcher.close();
      await this.tools.workspaces.clear();
      this.tools.spool.close();
    } finally {
      this.unlock();
    }
  }

  private async begin(): Promise<void> {
    await this.app.init();
    await this.app.get(Health).start();
    await this.app.get(Recovery).look();
    await this.broker.connect();
    // Before all else: the jobs of what died wait for nothing but this.
    this.app.get(Recovery).start();
    this.tools.workspaces.giveUsersFrom((await this.found).firstUser);
    const { heartbeatSeconds } = await this.app.get(Registration).register();
    this.app.get(Heartbeat).start(heartbeatSeconds);
    await this.app.listen();
    this.app.get(IdleTimeout).start();
    void this.app.get(Drain).asked.then(() => this.retire());
  }
}

/** Puts a worker together on a broker and a launcher; the launcher is closed with it. */
export async function createWorker(
  settings: WorkerSettings,
  broker: Broker,
  { launcher }: { launcher: Launcher },
): Promise<Worker> {
  const unlock = lockStateDir(settings.stateDir);
  const workerId = settings.workerId ?? keptWorkerId(settings.stateDir);
  const server = new ChannelServer(broker, subscriptions(settings, workerId));
  openWayTo(settings);
  const probing = join(settings.workDir, `${workerId}.probe`);
  const found = findCapabilities(launcher, probing, workerId);
  // Told by the start, which waits for it; a worker that is closed before has no use for it.
  const capabilities = found.then((it) => it.capabilities);
  capabilities.catch(() => undefined);
  const tools: AttemptTools = {
    workerId,
    ownEnvironment: settings.jobEnvironment,
    attempts: new Attempts(),
    spool: new Spool(settings.stateDir, launcher.capabilities.sureEnd === true),
    workspaces: new Workspaces(settings.workDir, workerId),
    files: new FilesClient(settings.gatewayUrl),
    launcher,
    capabilities,
    closedFolders: foldersToClose(settings),
    link: new GatewayLink(new ChannelClient(broker), broker),
    given: new GivenJobs(),
    liveBudget: new LiveBudget(),
  };
  const app = await NestFactory.createMicroservice(WorkerModule.of({ settings, broker, server, tools }), {
    strategy: server,
    bufferLogs: false,
  });
  return new Worker(workerId, settings, app, broker, tools, found, unlock);
}

/** Nothing below these is a job's to read, but for its own workspace. */
function foldersToClose({ stateDir, workDir, closedFolders = [] }: WorkerSettings): string[] {
  return [stateDir, workDir, ...closedFolders].map((folder) => realpathSync(folder));
}

/** Jobs may have users of their own, who have to come through to their workspaces; what is here they cannot list. */
function openWayTo({ stateDir, workDir, closedFolders = [] }: WorkerSettings): void {
  mkdirSync(workDir, { recursive: true, mode: 0o700 });
  if (process.geteuid?.() !== 0) return;
  for (const folder of [stateDir, workDir, ...closedFolders]) chmodSync(folder, 0o711);
}

function subscriptions(settings: WorkerSettings, workerId: string): Subscription[] {
  const tickets = Object.entries(settings.queues).map(([queue, slots]) => ({
    name: ticketSubscription(queue),
    source: { queue: ticketsQueue(queue) },
    // More would only get tickets that they have to leave to others.
    consumers: Math.min(slots, settings.maxJobs ?? slots),
    prefetch: 1,
  }));
  const control = {
    name: CONTROL_SUBSCRIPTION,
    source: { exchange: CONTROL_EXCHANGE.name, keys: [controlKey(workerId)] },
    consumers: 1,
    prefetch: 100,
  };
  return [...tickets, control];
}
