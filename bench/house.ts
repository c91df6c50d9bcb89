import pg from 'pg';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { formatApiKey, makeApiKey } from '#gateway/auth/api-key.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../apps/standalone/src/embedded-postgres.js';
import { askAdmin, freePorts, type RabbitMq } from '../test/support/rabbitmq-access.js';
import { startOwnRabbitMq } from '../test/support/rabbitmq.js';
import { BenchClient } from './client.js';
import { descendant } from './processor.js';
import { answersOk, Program } from './program.js';

export interface HouseOptions {
  /** The checkout, with node_modules and dist. */
  readonly top: string;
  /** Where processor profiles of gateway and worker go; none are made without. */
  readonly profiles?: string;
}

const GATEWAY = 'dist/apps/gateway/src/main.js';
/** As deploy/gateway.Dockerfile starts it. */
const GATEWAY_FLAGS = ['--max-semi-space-size=4'];
const WORKER = 'dist/apps/worker/src/main.js';

/** RabbitMQ and Postgres of the bench's own, and gateways and workers as real processes on them. */
export class House {
  readonly adminKey = formatApiKey(makeApiKey());
  private readonly programs = new Set<Program>();
  private databases = 0;

  private constructor(
    readonly options: HouseOptions,
    /** On the disk that is measured; goes away with the house. */
    readonly folder: string,
    readonly rabbitmq: RabbitMq,
    private readonly postgres: EmbeddedPostgres,
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  static async start(options: HouseOptions, environment: Readonly<Record<string, string>>): Promise<House> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'labhand-bench-'));
    const rabbitmq = await startOwnRabbitMq();
    try {
      const modules = path.join(options.top, 'node_modules');
      const directory = `${folder}.postgres`;
      const postgres = await startEmbeddedPostgres({ directory, modules, fsync: true });
      return new House(options, folder, rabbitmq, postgres, environment);
    } catch (error) {
      await rabbitmq.stop();
      throw error;
    }
  }

  /** A fresh database; its address. */
  async createDatabase(): Promise<string> {
    const name = `bench${++this.databases}`;
    await this.withPostgres(this.postgres.url, (client) => client.query(`CREATE DATABASE ${name}`));
    const url = new URL(this.postgres.url);
    url.pathname = `/${name}`;
    return url.href;
  }

  async withPostgres<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client(url);
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  }

  /** A gateway with an empty database and an empty blob store. @param variables more of its environment */
  async startGateway(variables: Readonly<Record<string, string>> = {}): Promise<RunningGateway> {
    const [port] = await freePorts(1);
    const databaseUrl = await this.createDatabase();
    const url = `http://127.0.0.1:${port}`;
    const program = await this.startProgram(
      GATEWAY,
      {
        LABHAND_DATABASE_URL: databaseUrl,
        LABHAND_AMQP_URL: this.rabbitmq.url,
        LABHAND_HOST: '127.0.0.1',
        LABHAND_PORT: String(port),
        LABHAND_BLOBS: `file:${mkdtempSync(path.join(this.folder, 'blobs-'))}`,
        LABHAND_ADMIN_KEY: this.adminKey,
        ...variables,
      },
      () => answersOk(`${url}/health/ready`),
      GATEWAY_FLAGS,
    );
    return { program, url, databaseUrl, client: new BenchClient(url, this.adminKey) };
  }

  /** A worker with that many slots of one queue. */
  async startWorker(
    gateway: RunningGateway,
    slots: number,
    { queue = 'default', stateDir = this.newStateDir(), flags }: WorkerOptions = {},
  ): Promise<Program> {
    const [port] = await freePorts(1);
    return this.startProgram(
      WORKER,
      {
        LABHAND_GATEWAY_URL: gateway.url,
        LABHAND_AMQP_URL: this.rabbitmq.url,
        LABHAND_QUEUES: `${queue}:${slots}`,
        LABHAND_STATE_DIR: stateDir,
        LABHAND_HEALTH_PORT: String(port),
      },
      () => answersOk(`http://127.0.0.1:${port}/health/ready`),
      flags,
    );
  }

  newStateDir(): string {
    return mkdtempSync(path.join(this.folder, 'worker-'));
  }

  /** Any of our programs, ended with the house at the latest. */
  async startProgram(
    script: string,
    variables: Readonly<Record<string, string>>,
    isReady: () => Promise<boolean> | boolean,
    flags: readonly string[] = [],
  ): Promise<Program> {
    const { top, profiles } = this.options;
    const profiling = profiles ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [];
    return this.startCommand(
      [process.execPath, ...flags, ...profiling, path.join(top, script)],
      variables,
      isReady,
    );
  }

  /** Any program at all, ended with the house at the latest. */
  async startCommand(
    command: readonly [string, ...string[]],
    variables: Readonly<Record<string, string>>,
    isReady: () => Promise<boolean> | boolean,
  ): Promise<Program> {
    const log = path.join(this.folder, 'log');
    const program = await Program.start(command, { ...this.environment, ...variables }, log, isReady);
    this.programs.add(program);
    return program;
  }

  /** The first process of each of the two servers; one in a container is none of ours. */
  get servers(): { postgres: number; rabbitmq?: number } {
    const rabbitmq = this.rabbitmq.kind === 'debian' ? descendant(process.pid, 'beam.smp') : undefined;
    return { postgres: this.postgres.pid, rabbitmq };
  }

  /** Ends all programs and deletes their queues: the next part begins with nothing left of this one. */
  async clear(): Promise<void> {
    // Workers first: they hand back to a gateway that is there.
    for (const program of [...this.programs].reverse()) await program.stop();
    this.programs.clear();
    const { adminUrl } = this.rabbitmq;
    const queues = (await askAdmin(adminUrl, 'GET', '/api/queues')) as { name: string }[];
    for (const { name } of queues.filter((queue) => queue.name.startsWith('labhand.'))) {
      await askAdmin(adminUrl, 'DELETE', `/api/queues/%2F/${encodeURIComponent(name)}`);
    }
  }

  async versions(): Promise<{ postgres: string; rabbitmq: string }> {
    const overview = (await askAdmin(this.rabbitmq.adminUrl, 'GET', '/api/overview')) as {
      rabbitmq_version: string;
    };
    const postgres = await this.withPostgres(this.postgres.url, async (client) => {
      const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
      return rows[0]!.server_version;
    });
    return { postgres, rabbitmq: overview.rabbitmq_version };
  }

  async end(): Promise<void> {
    await this.clear().catch(() => undefined);
    await this.postgres.stop();
    await this.rabbitmq.stop();
    const data = `${this.folder}.postgres`;
    for (const folder of [this.folder, realpathSync(data), data]) {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

export interface WorkerOptions {
  /** By default `default`. */
  readonly queue?: string;
  /** Of an earlier one; by default a new one. */
  readonly stateDir?: string;
  /** For Node itself. */
  readonly flags?: readonly string[];
}

export interface RunningGateway {
  readonly program: Program;
  readonly url: string;
  readonly databaseUrl: string;
  readonly client: BenchClient;
}
