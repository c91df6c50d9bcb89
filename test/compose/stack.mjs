// The stack of docker-compose.yml under a project name, a port, passwords and image tags of its own.
import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const OUTPUT_BYTES = 64 * 2 ** 20;
const SHOWN_OUTPUT = 4000;

export const top = fileURLToPath(new URL('../..', import.meta.url));

/** Why nothing can be run here, as a sentence; undefined when a Docker engine and Compose answer. */
export function missingDocker() {
  const answers = (...args) => spawnSync('docker', args, { stdio: 'ignore', timeout: 30_000 }).status === 0;
  if (!answers('version')) {
    return (
      'No Docker engine answers: "docker version" failed. Start one, or name one that runs in DOCKER_HOST, ' +
      'and see that this user may use it.'
    );
  }
  if (answers('compose', 'version')) return undefined;
  return 'Docker is here without Compose: "docker compose version" failed. Install the Compose plugin, 2.23.1 or newer.';
}

export class Stack {
  constructor(name, settings) {
    this.name = name;
    this.port = Number(settings.LABHAND_PUBLISH.split(':')[1]);
    this.url = `http://${settings.LABHAND_PUBLISH}`;
    this.settings = settings;
    this.environment = { ...process.env, ...settings };
  }

  /** @param base image that the worker is put into */
  static async named(prefix, base) {
    const name = `${prefix}-${randomBytes(4).toString('hex')}`;
    const password = () => randomBytes(16).toString('hex');
    return new Stack(name, {
      LABHAND_TAG: name,
      LABHAND_WORKER_BASE: base,
      LABHAND_PUBLISH: `127.0.0.1:${await freePort()}`,
      LABHAND_QUEUES: 'default:2',
      LABHAND_DRAIN_TIMEOUT: '60',
      LABHAND_STOP_GRACE: '90s',
      LABHAND_ADMIN_KEY: '',
      POSTGRES_PASSWORD: password(),
      RABBITMQ_PASSWORD: password(),
      RABBITMQ_WORKER_PASSWORD: password(),
    });
  }

  /** What a `docker compose` of this stack printed. @throws {Error} it failed, with the end of its output */
  compose(...args) {
    // Not the .env of whoever runs this.
    const common = ['--project-name', this.name, '--env-file', '/dev/null', '--progress', 'plain'];
    return this.docker('compose', ...common, ...args);
  }

  async docker(...args) {
    const options = { cwd: top, env: this.environment, maxBuffer: OUTPUT_BYTES };
    try {
      return (await run('docker', args, options)).stdout.trim();
    } catch ({ stdout = '', stderr = '', message }) {
      const output = `${stdout}${stderr}`.slice(-SHOWN_OUTPUT) || message;
      throw new Error(`docker ${args.join(' ')} failed:\n${output}`);
    }
  }

  /** Resolves when every container is healthy. */
  async up(workers, ...options) {
    await this.compose('up', '--detach', '--wait', '--scale', `worker=${workers}`, ...options);
    this.key = await this.compose('exec', '-T', 'gateway', 'cat', '/var/lib/labhand/admin-key');
  }

  /** Ids of the containers of a service, running or not. */
  async containers(service) {
    return (await this.compose('ps', '--all', '--quiet', service)).split('\n').filter(Boolean);
  }

  async inspect(container, format) {
    return this.docker('inspect', '--format', format, container);
  }

  /** @returns rows, each a list of texts */
  async sql(statement) {
    const rows = await this.compose(
      'exec',
      '-T',
      'postgres',
      'psql',
      '-U',
      'labhand',
      '-d',
      'labhand',
      '-XAt',
      '-c',
      statement,
    );
    return rows
      .split('\n')
      .filter(Boolean)
      .map((row) => row.split('|'));
  }

  /** Runs a module in the gateway's container, which has amqplib, and returns what it prints. */
  inGateway(source) {
    return this.compose('exec', '-T', 'gateway', 'node', '--input-type=module', '-e', source);
  }

  /** The parsed answer. @throws {Error} the answer is not a good one; nobody answered for a minute */
  async api(route, { body, ...options } = {}) {
    const headers = {
      authorization: `Bearer ${this.key}`,
      ...(body && { 'content-type': 'application/json' }),
    };
    const response = await this.fetch(route, {
      headers,
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
      ...options,
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${route} was answered with ${response.status}: ${text}`);
    return JSON.parse(text);
  }

  submit(command, more = {}) {
    return this.api('/v1/jobs', { body: { command, ...more } });
  }

  /** The job once it is as wanted, by default final. @throws {Error} it is not within `seconds` */
  async job(id, wanted = ({ finishedAt }) => finishedAt !== undefined, seconds = 240) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const job = await this.api(`/v1/jobs/${id}`);
      if (wanted(job)) return job;
      if (Date.now() > end) throw new Error(`After ${seconds} s the job is still so: ${JSON.stringify(job)}`);
      await pause(250);
    }
  }

  /** Takes away all that was made, volumes and images too. */
  async remove() {
    await this.compose('down', '--volumes', '--remove-orphans', '--timeout', '5');
    for (const image of ['gateway', 'worker']) {
      await this.docker('image', 'rm', '--force', `labhand/${image}:${this.name}`).catch(() => undefined);
    }
  }

  /** The gateway may be starting just now: a client of the real one asks again too. */
  async fetch(route, options) {
    const end = Date.now() + 60_000;
    for (;;) {
      try {
        const response = await fetch(this.url + route, options);
        if (![502, 503].includes(response.status) || Date.now() > end) return response;
        await response.body?.cancel();
      } catch (error) {
        if (Date.now() > end) throw error;
      }
      await pause(250);
    }
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
