import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Figure } from './figures.js';
import type { House } from './house.js';
import { residentMiB } from './memory.js';
import { times, type Scale } from './part.js';
import { runJobs } from './runs.js';
import { JOBS, SLOTS, WARM_UP } from './throughput.js';

const LARGE_MIB = 400;
const SMALL = 'jobs end to end, worker as it is (about 100 MiB)';

/** Whether a worker that holds much memory starts jobs more slowly: two workers of one gateway, by turns. */
export async function workerSize(house: House, scale: Scale): Promise<Figure[]> {
  const gateway = await house.startGateway();
  return house.withPostgres(gateway.databaseUrl, async (database) => {
    const run = (queue: string, count: number) =>
      runJobs(gateway.client, database, times(count, scale), { command: ['/bin/true'], queue });
    const small = await house.startWorker(gateway, SLOTS, { queue: 'small' });
    await run('small', WARM_UP);
    const ballast = ballastFlags(house, Math.round(LARGE_MIB - residentMiB(small.pid)));
    const large = await house.startWorker(gateway, SLOTS, { queue: 'large', flags: ballast });
    await run('large', WARM_UP);

    const seconds = { small: 0, large: 0 };
    for (const queue of ['small', 'large', 'large', 'small'] as const) {
      seconds[queue] += await run(queue, JOBS / 2);
    }
    const [smallMiB, largeMiB] = [residentMiB(small.pid), residentMiB(large.pid)];
    gateway.client.close();
    await house.clear();
    const rate = (took: number) => (2 * times(JOBS / 2, scale)) / took;
    return [
      { name: SMALL, unit: 'jobs/s', value: rate(seconds.small) },
      {
        name: `jobs end to end, worker of ${LARGE_MIB} MiB`,
        unit: 'jobs/s',
        value: rate(seconds.large),
        bound: { atLeast: 0.9, of: SMALL },
      },
      { name: 'the worker as it is, resident after these jobs', unit: 'MiB', value: smallMiB },
      { name: `the worker of ${LARGE_MIB} MiB, resident after these jobs`, unit: 'MiB', value: largeMiB },
    ];
  });
}

function ballastFlags({ options }: House, mib: number): string[] {
  const script = pathToFileURL(path.join(options.top, 'dist/bench/ballast.js'));
  script.searchParams.set('mib', String(mib));
  return ['--import', script.href];
}
