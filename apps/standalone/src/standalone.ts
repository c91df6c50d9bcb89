import { Logger, type LoggerService } from '@nestjs/common';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import path from 'node:path';
import { formatApiKey, makeApiKey } from '#gateway/auth/api-key.js';
import type { GatewayConfig } from '#gateway/gateway.config.js';
import { startGateway, type Gateway } from '#gateway/gateway.js';
import type { Broker } from '#shared/channel/broker.js';
import { InProcessBroker } from '#shared/channel/in-process-broker.js';
import { startLauncher } from '#worker/launcher-client.js';
import { launcherPaths } from '#worker/launcher-paths.js';
import { createWorker, type Worker } from '#worker/worker.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.js';
import { lockDataFolder } from './folder-lock.js';
import type { StandaloneConfig } from './standalone.config.js';

/** Gateway and worker in one process, on a Postgres of their own and a broker in memory. */

/** Where the program's files are; only its main program knows. */
export interface Installation {
  /** `node_modules`. */
  readonly modules: string;
  /** The folder of the worker's compiled main program, beside which the launchers are. */
  readonly workerProgram: string;
}

export interface Standalone {
  readonly url: string;
  /** Attempts get their time to end; then everything stops, the database last. */
  stop(): Promise<void>;
  /** Cuts that time short. */
  hurry(): void;
}

type Undo = () => unknown;

const postgresLog = new Logger('Postgres');

/**
 * @throws {FolderLockedError} another one works in the folder
 * @throws {PortTakenError}
 * @throws {EmbeddedPostgresError} this machine cannot run it
 */
export async function startStandalone(
  config: StandaloneConfig,
  installation: Installation,
  logger: LoggerService,
): Promise<Standalone> {
  const undo: Undo[] = [];
  const stop = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    prepareFolder(config.folder);
    undo.push(lockDataFolder(config.folder));
    await refuseTakenPort(config.gateway);
    const databaseUrl = config.databaseUrl ?? (await startDatabase(config.folder, installation, undo));
    keepAdminKey(config.gateway);
    const broker = new InProcessBroker(new Logger('InProcessBroker'));
    await broker.connect();
    undo.push(() => broker.close());
    const gateway = await startGateway({ ...config.gateway, databaseUrl }, broker, logger);
    undo.push(() => gateway.stop());
    const worker = await startWorker(config, installation, broker, gateway);
    undo.push(() => worker.close());
    const url = addressFor(config.gateway.host, gateway.url);
    writeFileSync(path.join(config.folder, 'url'), `${url}\n`);
    return { url, stop, hurry: () => worker.hurry() };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Not closed itself: where root starts it, Postgres has to pass through as another user. */
function prepareFolder(folder: string): void {
  for (const inside of ['blobs', 'worker']) {
    mkdirSync(path.join(folder, inside), { recursive: true, mode: 0o700 });
  }
}

async function startDatabase(folder: string, { modules }: Installation, undo: Undo[]): Promise<string> {
  const options = { directory: path.join(folder, 'postgres'), modules };
  let stopping = false;
  let server = await startEmbeddedPostgres(options);
  const watch = ({ ended, port }: EmbeddedPostgres) => {
    ended.then((cause) => startAgain(cause, port)).catch(giveUp);
  };
  const startAgain = async (cause: string, port: number) => {
    if (stopping) return;
    postgresLog.error(`the embedded Postgres ended unexpectedly (${cause}) and is started again`);
    server = await startEmbeddedPostgres({ ...options, port });
    if (stopping) await server.stop();
    else watch(server);
  };
  watch(server);
  undo.push(() => {
    stopping = true;
    return server.stop();
  });
  return server.url;
}

/** Without its database nothing can be done: the program is stopped as by its user. */
function giveUp(error: Error): void {
  postgresLog.fatal(error.message);
  process.kill(process.pid, 'SIGTERM');
}

/** Whoever owns the folder is the admin: a key file that was taken away is made anew. */
function keepAdminKey({ adminKey, adminKeyFile }: GatewayConfig): void {
  if (adminKey !== undefined || adminKeyFile === undefined || existsSync(adminKeyFile)) return;
  writeFileSync(adminKeyFile, `${formatApiKey(makeApiKey())}\n`, { mode: 0o600, flag: 'wx' });
}

async function startWorker(
  config: StandaloneConfig,
  { workerProgram }: Installation,
  broker: Broker,
  gateway: Gateway,
): Promise<Worker> {
  const launcher = await startLauncher({
    ...launcherPaths(workerProgram),
    cgroup: config.worker.cgroup,
    logger: new Logger('launcher'),
  });
  const gatewayUrl = addressFor(config.gateway.host, gateway.url);
  // The admin's key and everybody's files are beside the worker's.
  const settings = { ...config.worker, gatewayUrl, closedFolders: [config.folder] };
  const worker = await createWorker(settings, broker, { launcher });
  await worker.start();
  // Gateway and database go on; what is submitted waits for the next start.
  void worker.retired.then(() => worker.leave()).catch(workerFault);
  return worker;
}

function workerFault(error: Error): void {
  new Logger('worker').error(`The worker did not stop cleanly: ${error.message}`, error.stack);
}

/** Where a program on this machine reaches a server that listens on `host`. */
function addressFor(host: string, url: string): string {
  const address = new URL(url);
  if (host === '0.0.0.0' || host === '::') address.hostname = '127.0.0.1';
  return address.origin;
}

/** Told before anything is started, because it is what goes wrong most. */
async function refuseTakenPort({ host, port }: GatewayConfig): Promise<void> {
  const probe = createServer().listen(port, host);
  try {
    await once(probe, 'listening');
  } catch (error) {
    throw new PortTakenError(host, port, (error as NodeJS.ErrnoException).code ?? String(error));
  }
  probe.close();
  await once(probe, 'close');
}

export class PortTakenError extends Error {
  constructor(host: string, port: number, code: string) {
    const fault =
      code === 'EADDRINUSE'
        ? `Port ${port} of ${host} is taken by another program`
        : `It is not possible to listen on port ${port} of ${host} (${code})`;
    super(`${fault}. Choose another one: LABHAND_PORT=${port < 65_000 ? port + 1 : 8081} npm start`);
  }
}
