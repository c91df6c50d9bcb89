import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { Database } from '#gateway/database/database.js';
import { createDataSource } from '#gateway/database/data-source.js';
import { migrate } from '#gateway/database/migrate.js';
import { JobLifecycle } from '#gateway/jobs/job-lifecycle.js';
import { maskOf } from '#shared/job/requirements.js';
import { median } from './figures.js';
import type { House } from './house.js';
import { times, type Part } from './part.js';

const CLAIMS = 500;
const OWNERS = 1000;
const CHUNK = 50_000;
const LEASE_SECONDS = 600;
const SMALL = 'claim, 1,000 queued';
/** Owners whose jobs, of a higher priority, the claiming worker may not take. */
const STRANGERS = 200;
/** Requirements as bits of libs/shared/src/job/requirements.ts, which it does not enforce. */
const STRANGE = maskOf(['limit:memory', 'isolation:cgroup']);

/** A database that has so many queued jobs at the start of each round. */
interface Backlog {
  readonly jobs: number;
  readonly url: string;
}

let small: Backlog;
let large: Backlog;
let mixed: Backlog;

/** What a claim costs inside the gateway, with little and with much that waits; owners take turns in both. */
export const claims: Part = {
  async prepare(house, scale) {
    small = await fill(house, 1000);
    large = await fill(house, times(1_000_000, scale));
    mixed = await fill(house, times(1_000_000, scale), times(200_000, scale));
  },

  async measure(house, scale) {
    // By turns, so that both see the same machine.
    const [one, other, third] = [await Claimer.on(small), await Claimer.on(large), await Claimer.on(mixed)];
    try {
      for (let n = 0; n < times(CLAIMS, scale); n++) {
        await one.claim();
        await other.claim();
        await third.claim();
      }
    } finally {
      await one.end(house);
      await other.end(house);
      await third.end(house);
    }
    return [
      { name: SMALL, unit: 'ms', value: one.median },
      {
        name: `claim, ${large.jobs.toLocaleString('en')} queued`,
        unit: 'ms',
        value: other.median,
        bound: { atMost: 1.5, of: SMALL },
      },
      {
        name: `claim, and ${STRANGERS} owners in front with jobs for others`,
        unit: 'ms',
        value: third.median,
        bound: { atMost: 1.5, of: SMALL },
      },
    ];
  },
};

class Claimer {
  private readonly took: number[] = [];

  private constructor(
    private readonly backlog: Backlog,
    private readonly source: ReturnType<typeof createDataSource>,
    private readonly lifecycle: JobLifecycle,
  ) {}

  static async on(backlog: Backlog): Promise<Claimer> {
    const source = await createDataSource(backlog.url).initialize();
    const claimer = new Claimer(backlog, source, new JobLifecycle(new Database(source)));
    // The first ones plan the statement, and after five the server settles on a plan.
    for (let n = 0; n < 20; n++) await claimer.claim();
    claimer.took.length = 0;
    return claimer;
  }

  get median(): number {
    return median(this.took);
  }

  async claim(): Promise<void> {
    const claim = { claimId: randomUUID(), workerId: 'bench', queue: 'default' };
    const began = performance.now();
    const [job] = await this.lifecycle.claim([claim], LEASE_SECONDS);
    this.took.push(performance.now() - began);
    if (!job) throw new Error('a claim found nothing although jobs wait');
  }

  /** Ends what was claimed, and fills up with new jobs for the next round. */
  async end(house: House): Promise<void> {
    await this.source.destroy();
    await house.withPostgres(this.backlog.url, async (client) => {
      const { rowCount } = await client.query(`
        UPDATE jobs SET state = 'succeeded', finished_at = now(), lease_expires_at = NULL, worker_id = NULL,
          claim_id = NULL WHERE lease_expires_at IS NOT NULL`);
      await insert(client, rowCount ?? 0);
      await client.query('VACUUM ANALYZE jobs');
      await client.query('VACUUM ANALYZE lanes');
    });
  }
}

async function fill(house: House, jobs: number, strange = 0): Promise<Backlog> {
  const url = await house.createDatabase();
  const source = await createDataSource(url).initialize();
  await migrate(source);
  await source.destroy();
  await house.withPostgres(url, async (client) => {
    await client.query(`INSERT INTO queues (name, source) VALUES ('default', 'worker')`);
    for (let left = strange; left > 0; left -= CHUNK) await insert(client, Math.min(left, CHUNK), true);
    for (let left = jobs; left > 0; left -= CHUNK) await insert(client, Math.min(left, CHUNK));
    await client.query('VACUUM ANALYZE');
    await client.query('CHECKPOINT');
  });
  return { jobs, url };
}

/** Rows as a submission writes them; ids in the order of time, as ours are. */
async function insert(client: pg.Client, jobs: number, strange = false): Promise<void> {
  const spec = {
    command: ['/bin/true'],
    env: {},
    outputs: [],
    limits: { wallTime: 86_400, killGrace: 10, output: 2 ** 27 },
    onOutputLimit: 'cut',
    retry: { tries: 1, backoff: 0 },
  };
  await client.query(
    `INSERT INTO jobs (id, queue, owner, state, ready, tries_left, losses_left, spec, requires, priority)
     SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
             || substr(md5(n::text || clock_timestamp()::text), 1, 3) || '8'
             || substr(md5(random()::text), 1, 15))::uuid,
            'default', $4 || (n % $2), 'queued', true, 0, 5, $3, $5, $6
     FROM generate_series(1, $1) AS n`,
    [
      jobs,
      strange ? STRANGERS : OWNERS,
      JSON.stringify(spec),
      strange ? 'stranger ' : 'owner ',
      strange ? STRANGE : 0,
      strange ? 9 : 0,
    ],
  );
}
