import type { Figure } from './figures.js';
import type { House } from './house.js';
import { times, type Scale } from './part.js';
import { runJobs } from './runs.js';

const WARM_UP = 500;
const JOBS = 200;

/**
 * From the claim to the start of the job, on an idle service: from what the database calls the start of the claim's
 * transaction to the launcher's record of the start, and on to the job's own first look at the clock, which is what
 * `date` says. Statement, commit and answer of the claim are in both, the start of `date` in the second one.
 */
export async function startAfterClaim(house: House, scale: Scale): Promise<Figure[]> {
  const gateway = await house.startGateway();
  await house.startWorker(gateway, 1);
  const job = { command: ['/bin/date', '+%s%N'] };
  const { started, said } = await house.withPostgres(gateway.databaseUrl, async (database) => {
    await runJobs(gateway.client, database, times(WARM_UP, scale), job);
    const asked = new Date();
    for (let nth = 0; nth < times(JOBS, scale); nth++) {
      await gateway.client.submit(job, { prefer: 'wait=10' });
    }
    const median = (time: string) =>
      `percentile_cont(0.5) WITHIN GROUP (ORDER BY ${time} - extract(epoch FROM j.started_at) * 1000)::float`;
    const { rows } = await database.query<{ started: number; said: number }>(
      `SELECT ${median('extract(epoch FROM a.started_at) * 1000')} AS started,
              ${median(`convert_from(decode(a.stdout->>'tail', 'base64'), 'UTF8')::numeric / 1000000`)} AS said
       FROM jobs j JOIN attempts a ON a.job_id = j.id WHERE j.created_at > $1`,
      [asked],
    );
    return rows[0]!;
  });
  gateway.client.close();
  await house.clear();
  return [
    { name: 'claim to start of the job, idle, median', unit: 'ms', value: started, bound: { atMost: 5 } },
    { name: 'claim to first word of the job, idle, median', unit: 'ms', value: said },
  ];
}
