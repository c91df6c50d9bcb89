import type { Figure } from './figures.js';
import { bareSpawns, SPAWN } from './bare-spawns.js';
import { times, type Part } from './part.js';
import { processorSeconds } from './processor.js';
import { runJobs } from './runs.js';

/** What other systems are compared with. */
export const JOBS_END_TO_END = 'jobs end to end (/bin/true, 4 slots)';

export const SLOTS = 4;
export const JOBS = 2000;
/** Programs as they were just started, everything in the interpreter. */
const COLD = 300;
/** Together with the cold ones: after so many, what runs often is compiled. */
export const WARM_UP = 6000;
const SPAWNS = 1500;

/** From the first submission to the last final state, everything with its durability switched on. */
export const throughput: Part = {
  async measure(house, scale) {
    const gateway = await house.startGateway();
    const worker = await house.startWorker(gateway, SLOTS);
    const { postgres, rabbitmq } = house.servers;
    const costs = meter({
      gateway: () => processorSeconds(gateway.program.pid),
      'worker, launcher and command': () => processorSeconds(worker.pid),
      Postgres: () => processorSeconds(postgres),
      ...(rabbitmq === undefined ? {} : { RabbitMQ: () => processorSeconds(rabbitmq) }),
      client: ownSeconds,
    });
    return house.withPostgres(gateway.databaseUrl, async (database) => {
      const run = (count: number) => runJobs(gateway.client, database, count, { command: ['/bin/true'] });
      const [cold, jobs] = [times(COLD, scale), times(JOBS, scale)];
      const coldSeconds = await run(cold);
      await run(times(WARM_UP, scale) - cold);
      const spawnsBefore = await bareSpawns(house, times(SPAWNS, scale));
      costs.start();
      const seconds = await run(jobs);
      const spent = costs.figures(jobs);
      // Right before and right after, for a machine that is not ours alone is faster now and slower then.
      const spawns = (spawnsBefore + (await bareSpawns(house, times(SPAWNS, scale)))) / 2;
      gateway.client.close();
      await house.clear();
      const rate = (name: string, value: number, bound?: Figure['bound']): Figure => ({
        name,
        unit: 'jobs/s',
        value,
        bound,
      });
      return [
        { name: SPAWN, unit: 'processes/s', value: spawns },
        rate(JOBS_END_TO_END, jobs / seconds, { atLeast: 0.6, of: SPAWN }),
        rate('the same, against the older promise', jobs / seconds, { atLeast: 0.35, of: SPAWN }),
        rate('the first 300 jobs of programs just started', cold / coldSeconds),
        ...spent,
      ];
    });
  },
};

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
