import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import type { Figure } from './figures.js';
import { bareSpawns, SPAWN } from './bare-spawns.js';
import { timed, times, type Part } from './part.js';
import { processorSeconds } from './processor.js';

const JOBS = 2000;
const SPAWNS = 1500;
const SLOTS = 4;
const CONNECTIONS = 16;
const LOOK_EVERY_MS = 25;

/** From the first submission to the last final state, everything with its durability switched on. */
export const throughput: Part = {
  async measure(house, scale) {
    const gateway = await house.startGateway();
    const worker = await house.startWorker(gateway, SLOTS);
    const jobs = times(JOBS, scale);
    const submit = () => gateway.client.submit({ command: ['/bin/true'] });
    const costs = meter({
      gateway: () => processorSeconds(gateway.program.pid),
      'worker, launcher and command': () => processorSeconds(worker.pid),
      Postgres: () => processorSeconds(house.servers.postgres),
      RabbitMQ: () => processorSeconds(house.servers.rabbitmq),
      client: ownSeconds,
    });
    return house.withPostgres(gateway.databaseUrl, async (database) => {
      // The first ones find cold code everywhere.
      await timed(times(300, scale), CONNECTIONS, submit);
      await allEnded(database);
      const before = await succeeded(database);
      const spawnsBefore = await bareSpawns(house, times(SPAWNS, scale));
      costs.start();
      const began = performance.now();
      await timed(jobs, CONNECTIONS, submit);
      await allEnded(database);
      const seconds = (performance.now() - began) / 1000;
      const spent = costs.figures(jobs);
      // Right before and right after, for a machine that is not ours alone is faster now and slower then.
      const spawns = (spawnsBefore + (await bareSpawns(house, times(SPAWNS, scale)))) / 2;
      const ended = (await succeeded(database)) - before;
      if (ended !== jobs) throw new Error(`${ended} of ${jobs} jobs succeeded`);
      gateway.client.close();
      await house.clear();
      const name = 'jobs end to end (/bin/true, 4 slots)';
      const bound = { atLeast: 0.35, of: SPAWN };
      return [
        { name: SPAWN, unit: 'processes/s', value: spawns },
        { name, unit: 'jobs/s', value: jobs / seconds, bound },
        ...spent,
      ];
    });
  },
};

/** The lanes count what waits and what runs: one row says whether all is over, and reading it costs nearly nothing. */
async function allEnded(database: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await database.query<{ left: number }>({
      name: 'left',
      text: 'SELECT coalesce(sum(waiting + running), 0)::integer AS left FROM lanes',
    });
    if (rows[0]!.left === 0) return;
    await pause(LOOK_EVERY_MS);
  }
}

async function succeeded(database: pg.Client): Promise<number> {
  const { rows } = await database.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM jobs WHERE state = 'succeeded'`,
  );
  return rows[0]!.count;
}

/** Whose processor time the jobs take: on a machine where all share the processors, this decides the speed. */
function meter(readings: Readonly<Record<string, () => number>>) {
  let before: Record<string, number> = {};
  const read = () => Object.fromEntries(Object.entries(readings).map(([name, seconds]) => [name, seconds()]));
  return {
    start: () => void (before = read()),
    figures: (jobs: number): Figure[] =>
      Object.entries(read()).map(([name, seconds]) => ({
        name: `processor time of a job: ${name}`,
        unit: 'ms',
        value: ((seconds - before[name]!) * 1000) / jobs,
      })),
  };
}

function ownSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
