import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { startGuard } from './guard.js';
import { unpackedRabbitMq } from './rabbitmq-packages.js';
import {
  adminUrl,
  amqpUrl,
  freeBytesWanted,
  freePorts,
  newAddress,
  untilReady,
  type RabbitMq,
  type RabbitMqAddress,
} from './rabbitmq-access.js';

const HOST = '127.0.0.1';

/** Kills what the file of pids names when its input ends, which it also does when the test run is killed. */
const GUARD = 'cat >/dev/null; for pid in $(cat "$0/pids"); do kill -9 -"$pid"; done; rm -rf "$0"';

/** A private server, from packages that are not installed: needs no root, listens on 127.0.0.1 alone. */
export async function startDebianRabbitMq(): Promise<RabbitMq> {
  const root = await unpackedRabbitMq();
  const address = await newAddress();
  const home = await mkdtemp(path.join(os.tmpdir(), 'labhand-rabbitmq-'));
  const environment = await prepare(home, root, address);
  const guard = startGuard(GUARD, home);
  const url = amqpUrl(HOST, address);
  const admin = adminUrl(HOST, address);
  const epmd = run(path.join(root, 'usr/bin/epmd'), ['-address', HOST], environment);
  let server: ChildProcess;

  const start = async () => {
    server = run(environment.SERVER!, [], environment);
    await writeFile(path.join(home, 'pids'), [epmd, server].map(({ pid }) => `${pid}\n`).join(''));
    const failure = () => (server.exitCode === null ? undefined : 'RabbitMQ ended while it started');
    await untilReady(url, admin, failure).catch(async (error: Error) => {
      throw new Error(`${error.message}: ${await logTail(environment.RABBITMQ_LOG_BASE!)}`, { cause: error });
    });
  };
  const stop = async () => {
    guard.stdin?.end();
    await gone(guard);
  };
  await start().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    kind: 'debian',
    url,
    adminUrl: admin,
    stop,
    startAgain: start,
    freeze: async () => void process.kill(-server.pid!, 'SIGSTOP'),
    thaw: async () => void process.kill(-server.pid!, 'SIGCONT'),
    async diskFull(full) {
      const control = path.join(root, 'usr/lib/rabbitmq/bin/rabbitmqctl');
      const args = ['-n', environment.RABBITMQ_NODENAME!, 'set_disk_free_limit', freeBytesWanted(full)];
      await promisify(execFile)(control, args, { env: environment });
    },
    async kill() {
      process.kill(-server.pid!, 'SIGKILL');
      await gone(server);
    },
    wipe: () => rm(environment.RABBITMQ_MNESIA_BASE!, { recursive: true, force: true }),
  };
}

async function prepare(
  home: string,
  root: string,
  { port, adminPort, user, password }: RabbitMqAddress,
): Promise<Record<string, string>> {
  const [epmdPort, distributionPort] = await freePorts(2);
  const config = [
    `listeners.tcp.1 = ${HOST}:${port}`,
    `management.tcp.ip = ${HOST}`,
    `management.tcp.port = ${adminPort}`,
    `default_user = ${user}`,
    `default_pass = ${password}`,
  ];
  await mkdir(path.join(home, 'log'));
  await writeFile(path.join(home, 'rabbitmq.conf'), config.join('\n'));
  await writeFile(path.join(home, 'plugins'), '[rabbitmq_management].');
  await writeFile(path.join(home, 'pids'), '');
  const erlang = path.join(root, 'usr/lib/erlang');
  const library = path.join(root, 'usr/lib', `${os.machine()}-linux-gnu`);
  return {
    SERVER: path.join(root, 'usr/lib/rabbitmq/bin/rabbitmq-server'),
    PATH: `${erlang}/bin:${process.env.PATH ?? '/usr/bin:/bin'}`,
    LD_LIBRARY_PATH: library,
    HOME: home,
    LANG: 'C.UTF-8',
    ERL_ROOTDIR: erlang,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: HOST,
    RABBITMQ_NODENAME: 'labhand-test@localhost',
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_MNESIA_BASE: path.join(home, 'data'),
    RABBITMQ_LOG_BASE: path.join(home, 'log'),
    RABBITMQ_CONFIG_FILE: path.join(home, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: path.join(home, 'advanced.config'),
    RABBITMQ_CONF_ENV_FILE: path.join(home, 'rabbitmq-env.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: path.join(home, 'plugins'),
    // Idle schedulers that spin would take the processors from the tests.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
      '+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}',
  };
}

/** In a process group of its own, so that all of it can be killed at once. */
function run(command: string, args: string[], env: Record<string, string>): ChildProcess {
  const child = spawn(command, args, { env, detached: true, stdio: 'ignore' });
  child.on('error', () => undefined);
  child.unref();
  return child;
}

function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  child.ref();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

async function logTail(directory: string): Promise<string> {
  const log = path.join(directory, 'labhand-test@localhost.log');
  const text = await readFile(log, 'utf8').catch(() => 'it wrote no log');
  return text.trim().split('\n').slice(-8).join(' | ');
}
