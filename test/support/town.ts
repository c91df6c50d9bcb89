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

/** Seconds; short, so that a dead worker's jobs are soon given to another one. */
export const LEASE = 3;

export interface TownOptions {
  readonly gateways?: number;
  readonly workers?: number;
  readonly slots?: number;
  /** More of a gateway's environment. */
  readonly gateway?: Readonly<Record<string, string>>;
  /** More of a worker's environment. */
  readonly worker?: Readonly<Record<string, string>>;
}

/** Gateways, workers, RabbitMQ and Postgres, each a process of its own that a test may kill. */
export class Town {
  private constructor(
    readonly folder: string,
    readonly rabbitMq: RabbitMq,
    private postgres: EmbeddedPostgres,
    readonly database: Pool,
    readonly gateways: readonly Program[],
    readonly clients: readonly Client[],
    readonly workers: readonly Program[],
    readonly adminKey: string,
  ) {}

  static async start(options: TownOptions = {}): Promise<Town> {
    const folder = mkdtempSync(join(tmpdir(), 'labhand-town-'));
    // Postgres does not run as root, and has to come in.
    chmodSync(folder, 0o755);
    const ports = await freePorts((options.gateways ?? 1) + 1);
    const [rabbitMq, postgres] = await Promise.all([startOwnRabbitMq(), startPostgres(folder, ports[0]!)]);
    const adminKey = formatApiKey(makeApiKey());
    const urls = ports.slice(1).map((port) => `http://127.0.0.1:${port}`);
    const amqp = { LABHAND_AMQP_URL: rabbitMq.url };
    const gateways = ports.slice(1).map((port, index) => {
      const environment = {
        ...amqp,
        LABHAND_DATABASE_URL: postgres.url,
        LABHAND_HOST: '127.0.0.1',
        LABHAND_PORT: String(port),
        LABHAND_BLOBS: `file:${join(folder, 'blobs')}`,
        LABHAND_LEASE: String(LEASE),
        LABHAND_HEARTBEAT: '0.5',
        LABHAND_RECONCILE: '0.5',
        LABHAND_LOSSES: '100',
        LABHAND_LOSS_BACKOFF: '0',
        LABHAND_ADMIN_KEY: adminKey,
        LABHAND_CALLBACKS_ALLOW: '127.0.0.0/8',
        ...options.gateway,
      };
      return new Program(`gateway-${index}`, 'apps/gateway/src/main.js', folder, environment);
    });
    const workers = Array.from({ length: options.workers ?? 1 }, (_, index) => {
      const environment = {
        ...amqp,
        LABHAND_GATEWAY_URL: urls[index % urls.length]!,
        LABHAND_QUEUES: `default:${options.slots ?? 4}`,
        LABHAND_STATE_DIR: join(folder, `worker-${index}`),
        LABHAND_DRAIN_TIMEOUT: '10',
        ...options.worker,
      };
      return new Program(`worker-${index}`, 'apps/worker/src/main.js', folder, environment);
    });
    const database = new Pool({ connectionString: postgres.url, max: 2 });
    // Postgres is killed under it.
    database.on('error', () => undefined);
    const clients = urls.map((url) => new Client(url, adminKey));
    const town = new Town(folder, rabbitMq, postgres, database, gateways, clients, workers, adminKey);
    for (const program of [...gateways, ...workers]) program.start();
    await town.ready();
    return town;
  }

  get client(): Client {
    return this.clients[0]!;
  }

  /** Resolves when every gateway is ready and the workers have registered. */
  async ready(): Promise<void> {
    for (const client of this.clients) {
      await eventually(
        () =>
          client.get('/health/ready').then(
            ({ status }) => status,
            () => 0,
          ),
        200,
        60_000,
      );
    }
    await eventually(async () => (await this.presentWorkers()) >= this.workers.length, true, 60_000);
  }

  /** Starts it again on the same data and port. */
  async restartPostgres(whileGone: () => Promise<void> = async () => undefined): Promise<void> {
    await this.postgres.kill();
    await whileGone();
    this.postgres = await startPostgres(this.folder, this.postgres.port);
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

  /** What lies in the workers' folders of attempts that are over: nothing. */
  leftovers(): string[] {
    return this.workers.flatMap((_worker, index) => {
      const state = join(this.folder, `worker-${index}`);
      const spool = readdirSync(join(state, 'attempts')).map((name) => `spool ${name}`);
      const work = filesBelow(join(state, 'work')).map((name) => `workspace ${name}`);
      return [...spool, ...work];
    });
  }

  /** Files that are being taken in by a gateway. */
  unfinishedBlobs(): string[] {
    const folder = join(this.folder, 'blobs/.unfinished');
    return existsSync(folder) ? readdirSync(folder) : [];
  }

  /** What went wrong with the programs themselves. */
  faults(): string[] {
    return [...this.gateways, ...this.workers].flatMap(({ fault }) => fault ?? []);
  }

  /** The last words of every program, for a message of failure. */
  lastWords(lines = 15): string {
    return [...this.gateways, ...this.workers]
      .map(({ name, log }) => `--- ${name}\n${log.trim().split('\n').slice(-lines).join('\n')}`)
      .join('\n');
  }

  /** Stops everything as an operator would; resolves with the exit codes of gateways and workers. */
  async end(): Promise<(number | null)[]> {
    const codes = await Promise.all(this.workers.map((worker) => worker.end('SIGTERM')));
    codes.push(...(await Promise.all(this.gateways.map((gateway) => gateway.end('SIGTERM')))));
    await this.database.end();
    await Promise.all([this.postgres.stop(), this.rabbitMq.stop()]);
    if (!process.env.LABHAND_KEEP_TOWN) rmSync(this.folder, { recursive: true, force: true });
    return codes;
  }

  private async presentWorkers(): Promise<number> {
    const { body } = await this.client.get<{ workers: unknown[] }>('/v1/workers');
    return body.workers.length;
  }
}

function startPostgres(folder: string, port: number): Promise<EmbeddedPostgres> {
  const modules = resolve(__dirname, '../../node_modules');
  return startEmbeddedPostgres({ directory: join(folder, 'postgres'), modules, port });
}

/** Files, however deep; folders that are empty do not count. */
export function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}
