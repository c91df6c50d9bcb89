import path from 'node:path';
import { migrateUrl } from '../../apps/gateway/src/database/migrate.js';
import { databaseUrl, runOnce, TEMPLATE_DATABASE } from './postgres.js';
import { startTestPostgres } from './postgres-server.js';
import { startRabbitMq } from './rabbitmq.js';

/** Postgres and RabbitMQ of one test run; each process of the run finds them in its environment. */

interface Service {
  stop(): Promise<void>;
}

const started: Service[] = [];

export async function startServices(root: string): Promise<void> {
  const results = await Promise.allSettled([startDatabase(root), startBroker()]);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) {
    await stopServices();
    throw failed.reason;
  }
}

export async function stopServices(): Promise<void> {
  await Promise.all(started.splice(0).map((service) => service.stop()));
}

async function startDatabase(root: string): Promise<void> {
  const server = await startTestPostgres(path.join(root, 'node_modules'));
  started.push(server);
  await runOnce(server.url, `DROP DATABASE IF EXISTS ${TEMPLATE_DATABASE} WITH (FORCE)`);
  await runOnce(server.url, `CREATE DATABASE ${TEMPLATE_DATABASE}`);
  await migrateUrl(databaseUrl(server.url, TEMPLATE_DATABASE));
  process.env.LABHAND_RUN_DATABASE_URL = server.url;
}

async function startBroker(): Promise<void> {
  const broker = await startRabbitMq();
  started.push(broker);
  process.env.LABHAND_RUN_AMQP_URL = broker.url;
  process.env.LABHAND_RUN_AMQP_ADMIN_URL = broker.adminUrl;
}
