import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Pool } from 'pg';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../apps/standalone/src/embedded-postgres.js';
import { formatApiKey, makeApiKey } from '#gateway/auth/api-key.js';
import { Client } from './client.js';
import { Program } from './processes.js';
import { freePorts, type RabbitMq } from './rabbitmq-access.js';
import { startOwnRabbitMq } from './rabbitmq.js';
import { eventually } from './signals.js';
import { spooled } from './spooled.js';
import { TcpProxy } from './tcp-proxy.js';
import { allOf, type Wires } from './wires.js';

/** Seconds; short, so that a dead worker's jobs are soon given to another one. */
export const LEASE = 3;

export interface TownOptions {
  readonly gateways?: number;
  readonly workers?: number;
  readonly slots?: number;
  /** What each worker serves, by its number; by default all serve `default`. */
  readonly queues?: readonly string[];
  /** Blobs lie in an S3 store, a process of its own. */
  readonly s3?: boolean;
  /** Seconds between the heartbeats of AMQP connections: how soon one that is silent counts as lost. */
  readonly amqpHeartbeat?: number;
  /** More of the address of the database, as gateways get it. */
  readonly database?: string;
  /** More of a gateway's environment. */
  readonly gateway?: Readonly<Record<string, string>>;
  /** More of a worker's environment. */
  readonly worker?: Readonly<Record<string, string>>;
}

interface Parts {
  readonly folder: string;
  readonly rabbitMq: RabbitMq;
  readonly database: Pool;
  readonly store?: Program;
  readonly gateways: readonly Program[];
  readonly clients: readonly Client[];
  readonly workers: readonly Program[];
  readonly wires: Wires;
  readonly adminKey: string;
}

/**
 * Gateways, workers, RabbitMQ and Postgres, and an S3 store where it is asked for: each a process of its own that a
 * test may kill, with a proxy on each stretch of network between them. The test itself goes by none.
 */
export class Town implements Parts {
  readonly folder: string;
  readonly rabbitMq: RabbitMq;
  readonly database: Pool;
  readonly store?: Program;
  readonly gateways: readonly Program[];
  readonly clients: readonly Client[];
  readonly workers: readonly Program[];
  readonly wires: Wires;
  readonly adminKey: string;

  private constructor(
    parts: Parts,
    private server: EmbeddedPostgres,
  ) {
    this.folder = parts.folder;
    this.rabbitMq = parts.rabbitMq;
    this.database = parts.database;
    this.store = parts.store;
    this.gateways = parts.gateways;
    this.clients = parts.clients;
    this.workers = parts.workers;
    this.wires = parts.wires;
    this.adminKey = parts.adminKey;
  }

  static async start(options: TownOptions = {}): Promise<Town> {
    const folder = mkdtempSync(join(tmpdir(), 'labhand-town-'));
    // Postgres does not run as root, and has to come in.
    chmodSync(folder, 0o755);
    const [databasePort, storePort, ...ports] = await freePorts((options.gateways ?? 1) + 2);
    const [rabbitMq, server] = await Promise.all([startOwnRabbitMq(), startPostgres(folder, databasePort!)]);
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const count = options.workers ?? options.queues?.length ?? 1;
    const storeUrl = options.s3 ? `http://127.0.0.1:${storePort}` : undefined;
    const { wires, addresses } = await layWires({ rabbitMq, server, urls, storeUrl, count, options });
    const adminKey = formatApiKey(makeApiKey());
    const gateways = ports.map((port, index) => {
      const environment = {
        LABHAND_AMQP_URL: addresses.gatewayBroker,
        LABHAND_DATABASE_URL: addresses.gatewayDatabase + (options.database ?? ''),
        LABHAND_HOST: '127.0.0.1',
        LABHAND_PORT: String(port),
        ...blobSettings(folder, addresses.gatewayBlobs),
        LABHAND_LEASE: String(LEASE),
        LABHAND_HEARTBEAT: '0.5',
        LABHAND_RECONCILE: '0.5',
        LABHAND_LOSSES: '100',
        LABHAND_LOSS_BACKOFF: '0',
        LABHAND_ADMIN_KEY: adminKey,
        LABHAND_CALLBACKS_ALLOW: '127.0.0.0/8',
        ...options.gateway,
      };
      return new Program(`gateway-${index}`, ['apps/gateway/src/main.js'], folder, environment);
    });
    const workers = Array.from({ length: count }, (_, index) => {
      const environment = {
        LABHAND_AMQP_URL: addresses.workerBroker[index]!,
        LABHAND_GATEWAY_URL: addresses.workerGateway[index]!,
        LABHAND_QUEUES: options.queues?.[index] ?? `default:${options.slots ?? 4}`,
        LABHAND_STATE_DIR: join(folder, `worker-${index}`),
        LABHAND_DRAIN_TIMEOUT: '10',
        ...options.worker,
      };
      return new Program(`worker-${index}`, ['apps/worker/src/main.js'], folder, environment);
    });
    const store = options.s3
      ? new Program(
          'store',
          ['test/support/s3-program.js', String(storePort), join(folder, 's3')],
          folder,
          {},
        )
      : undefined;
    const database = new Pool({ connectionString: server.url, max: 2 });
    // Postgres is killed under it.
    database.on('error', () => undefined);
    const clients = urls.map((url) => new Client(url, adminKey));
    const parts = { folder, rabbitMq, database, store, gateways, clients, workers, wires, adminKey };
    const town = new Town(parts, server);
    for (const program of town.programs) program.start();
    await town.ready();
    return town;
  }

  get client(): Client {
    return this.clients[0]!;
  }

  /** Of ours; and the store. */
  get programs(): readonly Program[] {
    return [...(this.store ? [this.store] : []), ...this.gateways, ...this.workers];
  }

  get postgresPid(): number {
    return this.server.pid;
  }

  /**
   * Resolves when every gateway is ready and the workers have registered.
   * @throws when a program has ended by itself, with its last words: it will not come back
   */
  async ready(): Promise<void> {
    const ask = async (isReady: () => Promise<boolean>) => {
      if (this.faults().length > 0) throw new Error(`${this.faults().join('\n')}\n${this.lastWords()}`);
      return isReady();
    };
    for (const client of this.clients) {
      const isReady = () =>
        client.get('/health/ready').then(
          ({ status }) => status === 200,
          () => false,
        );
      await eventually(() => ask(isReady), true, 60_000);
    }
    const havePresence = async () => (await this.presentWorkers()) >= this.workers.length;
    await eventually(() => ask(havePresence), true, 60_000);
  }

  /** Starts it again on the same data and port. */
  async restartPostgres(whileGone: () => Promise<void> = async () => undefined): Promise<void> {
    await this.server.kill();
    await whileGone();
    this.server = await startPostgres(this.folder, this.server.port);
  }

  async restartRabbitMq({ wiped = false } = {}, whileGone = async () => undefined as void): Promise<void> {
    await this.rabbitMq.kill();
    if (wiped) await this.rabbitMq.wipe();
    await whileGone();
    await this.rabbitMq.startAgain();
  }

  async rows<T extends object>(text: string, values: unknown[] = []): Promise<T[]> {
    return (await this.database.query<T>(text, values)).rows;
  }

  /** Where there is no S3 store. */
  get blobs(): string {
    return join(this.folder, 'blobs');
  }

  stateOf(worker: number): string {
    return join(this.folder, `worker-${worker}`);
  }

  /** What lies in the workers' folders of attempts that are over: nothing. */
  leftovers(): string[] {
    return this.workers.flatMap((_worker, index) => {
      const state = this.stateOf(index);
      const spool = spooled(state).map((name) => `spool ${name}`);
      const work = filesBelow(join(state, 'work')).map((name) => `workspace ${name}`);
      return [...spool, ...work];
    });
  }

  /** Files that are being taken in by a gateway. */
  unfinishedBlobs(): string[] {
    const folder = join(this.blobs, '.unfinished');
    return existsSync(folder) ? readdirSync(folder) : [];
  }

  /** What went wrong with the programs themselves. */
  faults(): string[] {
    return this.programs.flatMap(({ fault }) => fault ?? []);
  }

  /** The last words of every program, for a message of failure. */
  lastWords(lines = 15): string {
    return this.programs
      .map(({ name, log }) => `--- ${name}\n${log.trim().split('\n').slice(-lines).join('\n')}`)
      .join('\n');
  }

  /** Stops everything as an operator would; resolves with the exit codes of gateways and workers. */
  async end(): Promise<(number | null)[]> {
    const codes = await Promise.all(this.workers.map((worker) => worker.end('SIGTERM')));
    codes.push(...(await Promise.all(this.gateways.map((gateway) => gateway.end('SIGTERM')))));
    await this.store?.end('SIGTERM');
    await this.database.end();
    await Promise.all([this.server.stop(), this.rabbitMq.stop()]);
    await Promise.all(allOf(this.wires).map((wire) => wire.close()));
    if (!process.env.LABHAND_KEEP_TOWN) rmSync(this.folder, { recursive: true, force: true });
    return codes;
  }

  private async presentWorkers(): Promise<number> {
    const { body } = await this.client.get<{ workers: unknown[] }>('/v1/workers');
    return body.workers.length;
  }
}

interface Ends {
  readonly rabbitMq: RabbitMq;
  readonly server: EmbeddedPostgres;
  readonly urls: readonly string[];
  readonly storeUrl: string | undefined;
  readonly count: number;
  readonly options: TownOptions;
}

/** The wires, and where each begins. */
async function layWires({ rabbitMq, server, urls, storeUrl, count, options }: Ends) {
  const lay = async (target: string) => {
    const wire = new TcpProxy(target);
    return { wire, address: await wire.listen() };
  };
  const layMany = async (target: (index: number) => string) => {
    const laid = await Promise.all(Array.from({ length: count }, (_, index) => lay(target(index))));
    return { wires: laid.map(({ wire }) => wire), addresses: laid.map(({ address }) => address) };
  };
  const broker = new URL(rabbitMq.url);
  if (options.amqpHeartbeat) broker.searchParams.set('heartbeat', String(options.amqpHeartbeat));
  const workerBroker = await layMany(() => broker.href);
  const workerGateway = await layMany((index) => urls[index % urls.length]!);
  const gatewayBroker = await lay(broker.href);
  const gatewayDatabase = await lay(server.url);
  const gatewayBlobs = storeUrl === undefined ? undefined : await lay(storeUrl);
  return {
    wires: {
      workerBroker: workerBroker.wires,
      workerGateway: workerGateway.wires,
      gatewayBroker: gatewayBroker.wire,
      gatewayDatabase: gatewayDatabase.wire,
      gatewayBlobs: gatewayBlobs?.wire,
    },
    addresses: {
      workerBroker: workerBroker.addresses,
      workerGateway: workerGateway.addresses,
      gatewayBroker: gatewayBroker.address,
      gatewayDatabase: gatewayDatabase.address,
      gatewayBlobs: gatewayBlobs?.address,
    },
  };
}

function blobSettings(folder: string, s3: string | undefined): Record<string, string> {
  if (s3 === undefined) return { LABHAND_BLOBS: `file:${join(folder, 'blobs')}` };
  return {
    LABHAND_BLOBS: 's3://blobs',
    LABHAND_S3_ENDPOINT: s3,
    LABHAND_S3_ACCESS_KEY_ID: 'S3RVER',
    LABHAND_S3_SECRET_ACCESS_KEY: 'S3RVER',
  };
}

function startPostgres(folder: string, port: number): Promise<EmbeddedPostgres> {
  const modules = resolve('node_modules');
  return startEmbeddedPostgres({ directory: join(folder, 'postgres'), modules, port });
}

/** Files, however deep; folders that are empty do not count. Some may be removed while we look. */
export function filesBelow(directory: string): string[] {
  for (;;) {
    try {
      return readdirSync(directory, { withFileTypes: true, recursive: true })
        .filter((entry) => !entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || !existsSync(directory)) throw error;
    }
  }
}
