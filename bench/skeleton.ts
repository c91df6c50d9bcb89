import path from 'node:path';
import { freePorts } from '../test/support/rabbitmq-access.js';
import { BenchClient } from './client.js';
import { quantile, type Figure } from './figures.js';
import { timed, times, type Part, type Scale } from './part.js';
import { processorSeconds } from './processor.js';
import { answersOk, type Program } from './program.js';
import type { House } from './house.js';
import { CONNECTIONS } from './runs.js';
import { JOBS, SLOTS, WARM_UP } from './throughput.js';
import { setTimeout as pause } from 'node:timers/promises';

const LOOK_EVERY_MS = 25;
const SINGLE = 200;
const JOB = { command: ['/bin/true'] };

/**
 * The same parts doing a job's way and nothing else, written plainly. No lower bound: it neither bundles nor gathers
 * nor uses folders again, as Labhand does.
 */
export const skeleton: Part = {
  async measure(house, scale) {
    const databaseUrl = await house.createDatabase();
    const { gateway, worker, client } = await start(house, databaseUrl);
    try {
      return await house.withPostgres(databaseUrl, async (database) => {
        const run = async (count: number) => {
          const began = performance.now();
          await timed(count, CONNECTIONS, () => client.submit(JOB));
          const left = `SELECT FROM jobs WHERE state <> 'succeeded' LIMIT 1`;
          while ((await database.query(left)).rowCount !== 0) await pause(LOOK_EVERY_MS);
          return (performance.now() - began) / 1000;
        };
        await run(times(WARM_UP, scale));
        const { postgres, rabbitmq } = house.servers;
        const spent = () =>
          [gateway.pid, worker.pid, postgres, ...(rabbitmq === undefined ? [] : [rabbitmq])].reduce(
            (sum, pid) => sum + processorSeconds(pid),
            0,
          );
        const before = spent();
        const jobs = times(JOBS, scale);
        const seconds = await run(jobs);
        const each = ((spent() - before) * 1000) / jobs;
        return [...throughputFigures(jobs / seconds, each), ...(await latencyFigures(client, scale))];
      });
    } finally {
      client.close();
      await house.clear();
    }
  },
};

async function start(
  house: House,
  databaseUrl: string,
): Promise<{ gateway: Program; worker: Program; client: BenchClient }> {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const common = { AMQP_URL: house.rabbitmq.url };
  const gateway = await house.startProgram(
    'dist/bench/skeleton-gateway.js',
    { ...common, DATABASE_URL: databaseUrl, PORT: String(port) },
    () => answersOk(url),
  );
  const client = new BenchClient(url, '');
  const dist = path.join(house.options.top, 'dist');
  const worker = await house.startProgram(
    'dist/bench/skeleton-worker.js',
    { ...common, DIST: dist, STATE_DIR: house.newStateDir(), SLOTS: String(SLOTS) },
    () => true,
  );
  // Its first job waits for it.
  await client.submit(JOB, { prefer: 'wait' });
  return { gateway, worker, client };
}

function throughputFigures(rate: number, processorTime: number): Figure[] {
  return [
    { name: 'the way of a job alone, on the same parts', unit: 'jobs/s', value: rate },
    { name: 'processor time of that, without the client', unit: 'ms', value: processorTime },
  ];
}

async function latencyFigures(client: BenchClient, scale: Scale): Promise<Figure[]> {
  const took: number[] = [];
  for (let n = 0; n < times(SINGLE, scale); n++) {
    const began = performance.now();
    await client.submit(JOB, { prefer: 'wait' });
    took.push(performance.now() - began);
  }
  const name = 'the way of a job alone, submit to result, idle';
  return [
    { name: `${name}, median`, unit: 'ms', value: quantile(took, 0.5) },
    { name: `${name}, 99th percentile`, unit: 'ms', value: quantile(took, 0.99) },
  ];
}
