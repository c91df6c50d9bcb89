import { Logger, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { setTimeout as pause } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { CLAIMS_QUEUE, HEARTBEATS_QUEUE, LIVE_QUEUE, REPORTS_QUEUE } from '#shared/amqp/topology.js';
import type { Broker } from '#shared/channel/broker.js';
import { ChannelServer, type Subscription } from '#shared/channel/channel-server.js';
import { AdminKey } from './auth/admin-key.js';
import { createDataSource } from './database/data-source.js';
import { migrate } from './database/migrate.js';
import { createBlobStore } from './files/create-blob-store.js';
import type { GatewayConfig } from './gateway.config.js';
import { GatewayModule } from './gateway.module.js';
import { Readiness } from './health/readiness.js';
import { createFastifyAdapter } from './http/fastify.js';
import { setupOpenApi } from './http/openapi.js';
import { RequestHooks } from './http/request-hooks.js';
import { Queues } from './queues/queues.js';
import { VERSION } from '#shared/version.js';

/** Messages of one kind that a gateway works on at once. */
const AT_ONCE = 256;
/** Log chunks are large: what a gateway holds of them in memory is this times 64 KiB. */
const LIVE_AT_ONCE = 32;

const SUBSCRIPTIONS: readonly Subscription[] = [
  { name: 'claims', source: { queue: CLAIMS_QUEUE }, consumers: 1, prefetch: AT_ONCE },
  { name: 'reports', source: { queue: REPORTS_QUEUE }, consumers: 1, prefetch: AT_ONCE },
  { name: 'heartbeats', source: { queue: HEARTBEATS_QUEUE }, consumers: 1, prefetch: AT_ONCE },
  { name: 'live', source: { queue: LIVE_QUEUE }, consumers: 1, prefetch: LIVE_AT_ONCE },
];

const DATABASE_RETRY_MS = 2000;
/** Milliseconds between looks for connections that are left idle while the gateway stops. */
const IDLE_SWEEP_MS = 500;

export interface Gateway {
  readonly app: NestFastifyApplication;
  /** Where it listens, such as http://127.0.0.1:8080. */
  readonly url: string;
  /** Answers what is under way and lets go of everything but the broker, which is its composer's. */
  stop(): Promise<void>;
}

/**
 * Opens database and blob store, brings the schema up to date and listens.
 * @param broker connected by the caller, who also closes it, after `stop`
 */
export async function startGateway(
  config: GatewayConfig,
  broker: Broker,
  logger: LoggerService,
): Promise<Gateway> {
  const dataSource = await openDatabase(config.databaseUrl);
  try {
    await migrate(dataSource);
    const store = await createBlobStore(config.blobs);
    const app = await NestFactory.create<NestFastifyApplication>(
      GatewayModule.of({ config, broker, dataSource, store }),
      createFastifyAdapter(),
      { logger, abortOnError: false },
    );
    app.connectMicroservice({ strategy: new ChannelServer(broker, SUBSCRIPTIONS) });
    setupOpenApi(app, { title: 'Labhand', version: VERSION });
    await app.get(AdminKey).ensure({ key: config.adminKey, file: config.adminKeyFile });
    await configureQueues(app.get(Queues), config);
    await app.startAllMicroservices();
    await app.listen(config.port, config.host);
    return { app, url: await app.getUrl(), stop: () => stop(app, dataSource) };
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
}

/** Waits for a database that is still starting; a wrong password or name is told at once. */
async function openDatabase(url: string): Promise<DataSource> {
  const logger = new Logger('Database');
  for (;;) {
    const dataSource = createDataSource(url);
    try {
      return await dataSource.initialize();
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (!isStarting(code) && !/timeout/.test(message)) throw error;
      logger.warn(`the database does not answer yet (${message}); trying again`);
      await pause(DATABASE_RETRY_MS);
    }
  }
}

/** Not there yet, or there and still recovering (57P03, "cannot_connect_now"). */
function isStarting(code: string | undefined): boolean {
  return ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'ECONNRESET', '57P03'].includes(code ?? '');
}

async function configureQueues(queues: Queues, config: GatewayConfig): Promise<void> {
  for (const [name, settings] of Object.entries(config.queues)) await queues.configure(name, settings);
}

async function stop(app: NestFastifyApplication, dataSource: DataSource): Promise<void> {
  app.get(Readiness).drain();
  app.get(RequestHooks).drain();
  // Answers that had begun before that leave a connection on which nothing more comes.
  const sweep = setInterval(() => app.getHttpServer().closeIdleConnections(), IDLE_SWEEP_MS);
  await app.close().finally(() => clearInterval(sweep));
  await dataSource.destroy();
}
