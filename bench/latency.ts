import { setTimeout as pause } from 'node:timers/promises';
import { quantile } from './figures.js';
import { times, type Part } from './part.js';
import { runJobs } from './runs.js';
import { WARM_UP } from './throughput.js';

const JOBS = 200;
/** Of those that come after a pause: longer than any claim waits. */
const RARE_JOBS = 50;
const PAUSE_MS = 200;
const JOB = { command: ['/bin/true'] };

/** One client that submits and waits, again and again, on an idle service: just started, and warm. */
export const latency: Part = {
  async measure(house, scale) {
    const gateway = await house.startGateway();
    await house.startWorker(gateway, 4);
    const once = async () => {
      const began = performance.now();
      const job = await gateway.client.submit(JOB, { prefer: 'wait=10' });
      if (job.state !== 'succeeded') throw new Error(`a job is ${job.state} after its wait`);
      return performance.now() - began;
    };
    const several = async () => {
      const took: number[] = [];
      for (let n = 0; n < times(JOBS, scale); n++) took.push(await once());
      return took;
    };
    const cold = await several();
    await house.withPostgres(gateway.databaseUrl, (database) =>
      runJobs(gateway.client, database, times(WARM_UP, scale), JOB),
    );
    const warm = await several();
    const rare: number[] = [];
    for (let n = 0; n < times(RARE_JOBS, scale); n++) {
      await pause(PAUSE_MS);
      rare.push(await once());
    }
    gateway.client.close();
    await house.clear();
    return [
      {
        name: 'submit to result, idle, median',
        unit: 'ms',
        value: quantile(warm, 0.5),
        bound: { atMost: 10 },
      },
      {
        name: 'submit to result, idle, 99th percentile',
        unit: 'ms',
        value: quantile(warm, 0.99),
        bound: { atMost: 30 },
      },
      { name: 'the same, each after a pause of 200 ms, median', unit: 'ms', value: quantile(rare, 0.5) },
      { name: 'the first 200 of programs just started, median', unit: 'ms', value: quantile(cold, 0.5) },
      {
        name: 'the first 200 of programs just started, 99th percentile',
        unit: 'ms',
        value: quantile(cold, 0.99),
      },
    ];
  },
};
