import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Logger } from '@nestjs/common';
import type { Broker } from '#shared/channel/broker.js';
import { formatApiKey, makeApiKey } from '#gateway/auth/api-key.js';
import { GATEWAY_DEFAULTS, type GatewayConfig } from '#gateway/gateway.config.js';
import { startGateway, type Gateway } from '#gateway/gateway.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';
import { startLauncher } from '#worker/launcher-client.js';
import { launcherPaths } from '#worker/launcher-paths.js';
import { createWorker, type Worker } from '#worker/worker.js';
import type { WorkerSettings } from '#worker/worker.config.js';
import { Client } from './client.js';
import { freshDatabase } from './postgres.js';
import { BROKERS, KeptLog } from './test-broker.js';

/** A whole Labhand for one test file: a real gateway and real workers on a database and a broker of their own. */
export interface House {
  readonly url: string;
  readonly adminKey: string;
  readonly client: Client;
  readonly gateway: Gateway;
  readonly log: KeptLog;
  readonly databaseUrl: string;
  readonly broker: Broker;
  /** A folder that goes away with the house. */
  readonly folder: string;
  startWorker(settings?: Partial<WorkerSettings>): Promise<Worker>;
  /** One more on the same database and broker; the test stops it. */
  startGateway(): Promise<Gateway>;
  /** Submits JSON and waits for the end. */
  run(job: JobSpecInput): ReturnType<Client['run']>;
  end(): Promise<void>;
}

export interface HouseOptions {
  /** A name in `BROKERS`. */
  readonly broker?: string;
  readonly gateway?: Partial<GatewayConfig>;
  /** None are started when false. */
  readonly worker?: Partial<WorkerSettings> | false;
}

/** The build puts the launchers there; `npm test` builds before it tests. */
const WORKER_PROGRAM = resolve(__dirname, '../../dist/apps/worker/src');

export async function startHouse(options: HouseOptions = {}): Promise<House> {
  const folder = mkdtempSync(join(tmpdir(), 'labhand-house-'));
  const log = new KeptLog();
  Logger.overrideLogger(log);
  const database = await freshDatabase();
  const testBroker = await BROKERS[options.broker ?? 'in process']!();
  const { broker } = testBroker;
  await broker.connect();
  const adminKey = formatApiKey(makeApiKey());
  const config: GatewayConfig = {
    ...GATEWAY_DEFAULTS,
    databaseUrl: database.url,
    port: 0,
    blobs: { kind: 'directory', directory: join(folder, 'blobs') },
    adminKey,
    callbacks: { allow: ['127.0.0.0/8'] },
    ...options.gateway,
  };
  const gateway = await startGateway(config, broker, log);
  const workers: Worker[] = [];
  const startWorker = async (settings: Partial<WorkerSettings> = {}) => {
    const state = join(folder, `worker-${workers.length}`);
    const launcher = await startLauncher({ ...launcherPaths(WORKER_PROGRAM), logger: log });
    const worker = await createWorker(
      {
        gatewayUrl: gateway.url,
        queues: { default: 2 },
        queueSettings: {},
        stateDir: state,
        workDir: join(state, 'work'),
        drainTimeout: 5,
        healthPort: 0,
        jobEnvironment: { PATH: process.env.PATH! },
        ...settings,
      },
      broker,
      { launcher },
    );
    workers.push(worker);
    await worker.start();
    return worker;
  };
  if (options.worker !== false) await startWorker(options.worker);
  const client = new Client(gateway.url, adminKey);
  return {
    url: gateway.url,
    adminKey,
    client,
    gateway,
    log,
    databaseUrl: database.url,
    broker,
    folder,
    startWorker,
    startGateway: () => startGateway(config, broker, log),
    run: (job) => client.run(job),
    end: async () => {
      await Promise.all(workers.map((worker) => worker.close()));
      await gateway.stop();
      await testBroker.end();
      await database.drop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
