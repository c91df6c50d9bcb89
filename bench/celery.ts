import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { unpackedPackages } from '../test/support/debian-packages.js';
import { askAdmin } from '../test/support/rabbitmq-access.js';
import { testVhost } from '../test/support/rabbitmq-vhost.js';
import type { House } from './house.js';
import type { Peer, Work, Worked } from './peer.js';

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;

/** Celery of Debian's packages, on the RabbitMQ that Labhand has in this run. */
export const celery: Peer = {
  name: 'Celery on RabbitMQ',

  async install(house) {
    const { python, variables } = await environment(house);
    const script = 'import celery, platform; print(celery.__version__, platform.python_version())';
    const { stdout } = await run(python, ['-c', script], { env: variables });
    const [version, pythonVersion] = stdout.trim().split(' ');
    return (
      `Celery ${version} (Python ${pythonVersion}) on the same RabbitMQ as Labhand: durable classic queue, ` +
      'persistent messages that are not confirmed (its default), acks_late, results by rpc:// (in memory, never on disk)'
    );
  },

  async work(house, work) {
    const vhost = await testVhost(house.rabbitmq, 'bench-celery');
    try {
      return await workOn(house, vhost, work);
    } finally {
      await house.clear();
      await vhost.remove();
    }
  },
};

async function workOn(
  house: House,
  vhost: { readonly name: string; readonly url: string },
  { slots, warmUp, jobs, single }: Work,
): Promise<Worked> {
  const { python, variables } = await environment(house);
  const env = { ...variables, BENCH_BROKER_URL: vhost.url };
  const options = ['--pool', 'prefork', '--concurrency', String(slots), '--loglevel', 'WARNING'];
  const isReady = () => consumes(house, vhost.name);
  await house.startCommand([python, '-m', 'celery', '-A', 'tasks', 'worker', ...options], env, isReady);
  const client = path.join(house.options.top, 'bench/celery/client.py');
  const counts = [warmUp, jobs, single].map(String);
  const { stdout } = await run(python, [client, ...counts], { env, timeout: TIMEOUT_MS });
  return JSON.parse(stdout) as Worked;
}

/** Whether somebody takes tasks from Celery's queue. */
async function consumes({ rabbitmq }: House, vhost: string): Promise<boolean> {
  const consumers = await askAdmin(rabbitmq.adminUrl, 'GET', `/api/consumers/${vhost}`);
  return (consumers as { queue: { name: string } }[]).some(({ queue }) => queue.name === 'celery');
}

/** The system's Python where one is installed, for apt has fetched none then. */
async function environment(house: House): Promise<{ python: string; variables: Record<string, string> }> {
  const tree = await unpackedPackages({ name: 'celery', packages: ['python3-celery'] });
  const own = path.join(tree, 'usr/bin/python3');
  const isOwn = existsSync(own);
  const modules = [
    path.join(house.options.top, 'bench/celery'),
    path.join(tree, 'usr/lib/python3/dist-packages'),
  ];
  return {
    python: isOwn ? own : '/usr/bin/python3',
    variables: {
      PATH: '/usr/bin:/bin',
      HOME: '/',
      LANG: 'C.UTF-8',
      PYTHONPATH: modules.join(':'),
      PYTHONPYCACHEPREFIX: path.join(house.folder, 'python'),
      ...(isOwn ? { PYTHONHOME: path.join(tree, 'usr') } : {}),
      LD_LIBRARY_PATH: path.join(tree, 'usr/lib', `${os.machine()}-linux-gnu`),
    },
  };
}
