import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { installBullMq, loadBullMq, VERSIONS, type BullMq, type Queue } from './bullmq-package.js';
import { timed } from './part.js';
import type { Peer, Worked } from './peer.js';
import { redisVersion, startRedis } from './redis.js';
import { CONNECTIONS } from './runs.js';

const NAME = 'bench';
const LOOK_EVERY_MS = 25;
const PATIENCE_MS = 300_000;
const WORKER = 'dist/bench/bullmq-worker.js';

/** BullMQ of npm's registry, on a Redis of Debian's packages. */
export const bullMq: Peer = {
  name: 'BullMQ on Redis',

  async install() {
    await installBullMq();
    return (
      `BullMQ ${VERSIONS.bullmq} (ioredis ${VERSIONS.ioredis}) on Redis ${await redisVersion()}: appendonly, ` +
      'appendfsync everysec (its default)'
    );
  },

  async work(house, { slots, ...counts }) {
    const folder = await installBullMq();
    const connection = { host: '127.0.0.1', port: await startRedis(house) };
    const bullmq = loadBullMq(folder);
    const queue = new bullmq.Queue(NAME, { connection });
    const events = new bullmq.QueueEvents(NAME, { connection });
    try {
      await events.waitUntilReady();
      const script = path.join(house.options.top, WORKER);
      const args = [folder, String(connection.port), NAME, String(slots)];
      const isReady = async () => (await queue.getWorkersCount()) > 0;
      await house.startCommand([process.execPath, script, ...args], {}, isReady);
      return await workOn(queue, events, counts);
    } finally {
      await events.close();
      await queue.close();
      await house.clear();
    }
  },
};

async function workOn(
  queue: Queue,
  events: InstanceType<BullMq['QueueEvents']>,
  { warmUp, jobs, single }: { warmUp: number; jobs: number; single: number },
): Promise<Worked> {
  const add = () => queue.add('true', {});
  const run = async (count: number) => {
    const began = performance.now();
    await timed(count, CONNECTIONS, add);
    await allEnded(queue);
    return (performance.now() - began) / 1000;
  };
  await run(warmUp);
  const seconds = await run(jobs);
  const latencies: number[] = [];
  for (let nth = 0; nth < single; nth++) {
    const began = performance.now();
    await (await add()).waitUntilFinished(events, PATIENCE_MS);
    latencies.push(performance.now() - began);
  }
  const { completed } = await queue.getJobCounts('completed');
  const expected = warmUp + jobs + single;
  if (completed !== expected) throw new Error(`${completed} of ${expected} jobs were completed`);
  return { seconds, latencies };
}

async function allEnded(queue: Queue): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized');
    if (Object.values(counts).every((count) => count === 0)) return;
    if (performance.now() > deadline) throw new Error('its jobs did not end within five minutes');
    await pause(LOOK_EVERY_MS);
  }
}
