import { randomUUID } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { createDataSource } from '#gateway/database/data-source.js';
import { Database } from '#gateway/database/database.js';
import { JobLifecycle, type NewJob } from '#gateway/jobs/job-lifecycle.js';
import { JobQueries } from '#gateway/jobs/job-queries.js';
import type { EffectiveSpec, JobRow, MovedJob } from '#gateway/jobs/job-row.js';
import { toJobView } from '#gateway/jobs/job-view.js';
import type { WaitingReasons } from '#gateway/jobs/waiting-for.js';
import { newJobId } from '#shared/job/job-id.js';
import { maskOf } from '#shared/job/requirements.js';
import type { Finished, Outcome } from '#shared/messages/messages.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const LEASE = 60;
const failure: Partial<Outcome> = {
  state: 'failed',
  reason: 'exit_code',
  exitCode: 1,
  message: 'It failed.',
};
const INFRASTRUCTURE = { tries: 3, backoff: 0, backoffMax: 0 };
const TERMS = { lease: LEASE, heardWithin: 7 };
const RETRY = { tries: 1, backoff: 0, backoffMax: 3600, jitter: 0, infrastructure: INFRASTRUCTURE };

describe('the life of a job in the database', () => {
  let test: TestDatabase;
  let dataSource: DataSource;
  let database: Database;
  let lifecycle: JobLifecycle;

  beforeAll(async () => {
    test = await freshDatabase();
    dataSource = await createDataSource(test.url).initialize();
    database = new Database(dataSource);
    lifecycle = new JobLifecycle(database);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await test.drop();
  });
  beforeEach(async () => {
    await database.query('TRUNCATE jobs, attempts, events, lanes, queues, workers CASCADE');
    await database.query(`INSERT INTO queues (name, source) VALUES ('q', 'configuration')`);
  });

  const submit = async (change: Partial<NewJob> = {}) =>
    (await lifecycle.submit([{ ...newJob(), ...change }]))[0]!;
  const claimOne = async (claimId: string = randomUUID(), workerId = 'w') =>
    (await lifecycle.claim([{ queue: 'q', claimId, workerId }], LEASE))[0];
  const workerIsHeard = () =>
    database.query(`
      INSERT INTO workers (id, host, version, queues, capabilities, started_at)
      VALUES ('w', 'here', '1', '{}', '{}', now())`);
  const rowOf = async (id: string) => (await database.one<JobRow>('SELECT * FROM jobs WHERE id = $1', [id]))!;
  const eventsOf = async (id: string) =>
    (
      await database.query<{ state: string }>('SELECT state FROM events WHERE job_id = $1 ORDER BY id', [id])
    ).map((row) => row.state);
  /** The lane counters must say what the jobs say, after every test. */
  afterEach(async () => {
    const wrong = await database.query(`
      SELECT l.*, mine.*, owners.* FROM lanes l
      JOIN LATERAL (
        SELECT count(*) FILTER (WHERE ready) AS waits, count(*) FILTER (WHERE lease_expires_at IS NOT NULL) AS runs,
               max(priority) FILTER (WHERE ready) AS best,
               (array_agg(id ORDER BY priority DESC, id) FILTER (WHERE ready))[1] AS first
        FROM jobs j WHERE j.queue = l.queue AND j.owner = l.owner AND j.requires = l.requires) mine ON true
      JOIN LATERAL (
        SELECT count(*) FILTER (WHERE lease_expires_at IS NOT NULL) AS all_runs
        FROM jobs j WHERE j.queue = l.queue AND j.owner = l.owner) owners ON true
      WHERE (waits, runs, all_runs) IS DISTINCT FROM (waiting, running, taken)
         OR (waits > 0 AND (best IS DISTINCT FROM best_priority OR (first_job <= first) IS NOT TRUE))
         OR turn IS DISTINCT FROM (SELECT max(s.turn) FROM lanes s WHERE s.queue = l.queue AND s.owner = l.owner)`);
    expect(wrong).toEqual([]);
  });

  it('asks the server to compile no statement', async () => {
    expect(await database.query('SHOW jit')).toEqual([{ jit: 'off' }]);
  });

  it('a job is queued, runs and succeeds, with one event for each move', async () => {
    const { id } = await submit();
    const claimed = await claimOne();
    expect(claimed).toMatchObject({ id, state: 'running', attempt: 1, worker_id: 'w' });
    const [moved] = await lifecycle.finish([report(claimed!)]);
    expect(moved).toMatchObject({ id, state: 'succeeded' });
    expect(await rowOf(id)).toMatchObject({ state: 'succeeded', lease_expires_at: null });
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'succeeded']);
  });

  it('a job that somebody waits for is given back whole, as it can be read then', async () => {
    const [awaited, other] = [await submit(), await submit()];
    const reports = [report((await claimOne())!), report((await claimOne())!)];
    const moved = await lifecycle.finish(reports, [awaited.id]);
    const wholeOf = (id: string) => moved.find((job) => job.id === id)!.whole;
    const queries = new JobQueries(database, undefined as unknown as WaitingReasons);
    expect(toJobView(wholeOf(awaited.id)!)).toEqual(toJobView((await queries.find(awaited.id))!));
    expect(wholeOf(other.id)).toBeNull();
  });

  it('jobs submitted together are all there or none is', async () => {
    const jobs = ['a', 'b', 'a'].map((owner) => ({ ...newJob(), owner }));
    const moved = await lifecycle.submit(jobs);
    expect(moved.map(({ id, owner, state }) => ({ id, owner, state }))).toEqual(
      jobs.map(({ id, owner }) => ({ id, owner, state: 'queued' })),
    );
    const bad = [newJob(), { ...newJob(), queue: 'no such queue' }];
    await expect(lifecycle.submit(bad)).rejects.toThrow('foreign key');
    expect(await database.query('SELECT FROM jobs')).toHaveLength(3);
  });

  it('nobody is told of a move before it is on the disk', async () => {
    const url = new URL(test.url);
    url.searchParams.set('options', '-c synchronous_commit=on');
    const source = await createDataSource(url.href).initialize();
    const synced = new JobLifecycle(new Database(source));
    const isFlushedBy = async (move: () => Promise<unknown>) => {
      const [{ before }] = await source.query('SELECT pg_current_wal_insert_lsn()::text AS before');
      await move();
      const [{ flushed }] = await source.query('SELECT pg_current_wal_flush_lsn() > $1::pg_lsn AS flushed', [
        before,
      ]);
      return flushed;
    };
    let claimed: MovedJob | undefined;
    const claim = { queue: 'q', claimId: randomUUID(), workerId: 'w' };
    expect(await isFlushedBy(() => synced.submit([newJob()]))).toBe(true);
    expect(await isFlushedBy(async () => ([claimed] = await synced.claim([claim], LEASE)))).toBe(true);
    expect(await isFlushedBy(() => synced.finish([report(claimed!)]))).toBe(true);
    await synced.submit([newJob(), newJob()]);
    const [last] = await synced.claim([{ ...claim, claimId: randomUUID() }], LEASE);
    const both = () => synced.finishAndClaim([report(last!)], [{ ...claim, claimId: randomUUID() }], TERMS);
    expect(await isFlushedBy(both)).toBe(true);
    const entered = () => synced.submitAndClaim([newJob()], [{ ...claim, claimId: randomUUID() }], LEASE);
    expect(await isFlushedBy(entered)).toBe(true);
    await source.destroy();
  });

  it('a move is seen by others before it is told that it is kept', async () => {
    const told: string[] = [];
    let seen: Promise<unknown> | undefined;
    const tellOf = (move: string) => ({
      committed: ([job]: readonly MovedJob[]) => {
        told.push(`${move} is committed`);
        seen = rowOf(job!.id);
      },
      kept: () => told.push(`${move} is kept`),
    });
    await lifecycle.submit([newJob()], tellOf('submission'));
    expect(await seen).toMatchObject({ state: 'queued' });
    const job = await claimOne();
    await lifecycle.finish([report(job!)], [], tellOf('end'));
    expect(await seen).toMatchObject({ state: 'succeeded' });
    expect(told).toEqual([
      'submission is committed',
      'submission is kept',
      'end is committed',
      'end is kept',
    ]);
  });

  it('a claim that comes with a submission is given it, and a second one nothing', async () => {
    const claims = ['v', 'w'].map((workerId) => ({ queue: 'q', claimId: randomUUID(), workerId }));
    const job = newJob();
    const [submitted, taken] = await lifecycle.submitAndClaim([job], claims, LEASE);
    expect(submitted).toMatchObject([{ id: job.id, state: 'queued' }]);
    expect(taken).toMatchObject([{ id: job.id, state: 'running', worker_id: 'v' }, undefined]);
    expect(await eventsOf(job.id)).toEqual(['queued', 'running']);
  });

  it('a claim that fails takes no submission with it', async () => {
    const job = newJob();
    const [submitted, error] = await lifecycle.submitAndClaim(
      [job],
      [{ queue: 'q', claimId: 'no uuid', workerId: 'w' }],
      LEASE,
    );
    expect(submitted).toMatchObject([{ id: job.id }]);
    expect(error).toBeInstanceOf(Error);
    expect(await rowOf(job.id)).toMatchObject({ state: 'queued' });
  });

  it('a claim that comes with a report sees what the report has freed', async () => {
    await database.query(`UPDATE queues SET settings = '{"maxRunningPerOwner": 1}' WHERE name = 'q'`);
    await workerIsHeard();
    const ids = [(await submit()).id, (await submit()).id];
    const first = await claimOne();
    const id = ids.find((other) => other !== first!.id)!;
    expect(await claimOne()).toBeUndefined();
    const claims = [1, 2].map(() => ({ queue: 'q', claimId: randomUUID(), workerId: 'w' }));
    const [moved, taken] = await lifecycle.finishAndClaim([report(first!)], claims, TERMS);
    expect(moved).toMatchObject([{ id: first!.id, state: 'succeeded' }]);
    expect(taken).toMatchObject([{ id, state: 'running', worker_id: 'w' }, undefined]);
    const [, again] = await lifecycle.finishAndClaim([report(first!)], claims, TERMS);
    expect(again).toMatchObject([{ id, attempt: 1, event_id: null }, undefined]);
  });

  it.each([
    ['was not heard for long', `heard_at = now() - interval '8 seconds'`],
    ['drains', 'draining = true'],
    ['is told to', 'drain_requested = true'],
  ])('a claim that comes with a report gives nothing to a worker that %s', async (_what, change) => {
    await workerIsHeard();
    await submit();
    await submit();
    const first = await claimOne();
    await database.query(`UPDATE workers SET ${change}`);
    const claims = [{ queue: 'q', claimId: randomUUID(), workerId: 'w' }];
    const [moved, taken] = await lifecycle.finishAndClaim([report(first!)], claims, TERMS);
    expect([moved.length, taken]).toEqual([1, [undefined]]);
    expect(await claimOne()).toBeDefined();
  });

  it('a claim that fails takes nothing from the report that it came with', async () => {
    const { id } = await submit();
    const claims = [{ queue: 'q', claimId: 'no UUID', workerId: 'w' }];
    const [moved, taken] = await lifecycle.finishAndClaim([report((await claimOne())!)], claims, TERMS);
    expect(moved).toMatchObject([{ id, state: 'succeeded' }]);
    expect(taken).toBeInstanceOf(Error);
    expect(await rowOf(id)).toMatchObject({ state: 'succeeded' });
  });

  it('a claim asked again gives the same job, and nothing once its attempt is over', async () => {
    await submit();
    await submit();
    const claimId = randomUUID();
    const first = await claimOne(claimId);
    const { id } = first!;
    const again = await claimOne(claimId);
    expect(again).toMatchObject({ id, attempt: 1, event_id: null });
    await lifecycle.finish([report(first!)]);
    expect(await claimOne(claimId)).toBeUndefined();
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'succeeded']);
  });

  it('a claim asked again has its whole lease before it', async () => {
    await submit();
    const claimId = randomUUID();
    await claimOne(claimId);
    await database.query(`UPDATE jobs SET lease_expires_at = now() - interval '1 second'`);
    await claimOne(claimId);
    expect(await lifecycle.reclaim()).toEqual([]);
  });

  it('claims answered together take different jobs', async () => {
    const ids = [(await submit()).id, (await submit()).id];
    const claims = [1, 2, 3].map(() => ({ queue: 'q', claimId: randomUUID(), workerId: 'w' }));
    const [a, b, c] = await lifecycle.claim(claims, LEASE);
    expect([a!.id, b!.id].sort()).toEqual(ids.sort());
    expect(c).toBeUndefined();
  });

  it('an older job that becomes ready again is taken before younger ones', async () => {
    const [first, second, third] = [await submit({ hold: true }), await submit(), await submit()];
    expect((await claimOne())!.id).toBe(second.id);
    await lifecycle.release(first.id);
    expect((await claimOne())!.id).toBe(first.id);
    expect((await claimOne())!.id).toBe(third.id);
  });

  it('a job whose priority was changed by hand is taken as that says', async () => {
    const [first, second, third] = [await submit({ priority: 5 }), await submit(), await submit()];
    const change = (id: string, priority: number) =>
      database.query('UPDATE jobs SET priority = $2 WHERE id = $1', [id, priority]);
    await change(third.id, 9);
    await change(first.id, 0);
    const taken = [await claimOne(), await claimOne(), await claimOne()];
    expect(taken.map((job) => job!.id)).toEqual([third.id, first.id, second.id]);
  });

  it('a claim looks at no more of the database after thousands of others, without a vacuum', async () => {
    await database.query('ALTER TABLE jobs SET (autovacuum_enabled = off)');
    const pagesOfClaim = async () => {
      const [row] = await database.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(`
        EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
        SELECT * FROM claim_jobs('q', 'w', ARRAY[gen_random_uuid()], interval '1 minute', NULL)`);
      const { Plan } = row!['QUERY PLAN'][0];
      return Plan['Shared Hit Blocks']! + Plan['Shared Read Blocks']!;
    };
    const [jobs, batch] = [6000, 50];
    for (let n = 0; n < jobs; n += batch) await lifecycle.submit(Array.from({ length: batch }, newJob));
    const before = [await pagesOfClaim(), await pagesOfClaim(), await pagesOfClaim()].at(-1)!;
    for (let n = batch; n < jobs; n += batch) {
      const claims = Array.from({ length: batch }, () => ({
        queue: 'q',
        claimId: randomUUID(),
        workerId: 'w',
      }));
      await lifecycle.claim(claims, LEASE);
    }
    expect(await pagesOfClaim()).toBeLessThan(before * 1.5);
    await database.query('ALTER TABLE jobs RESET (autovacuum_enabled)');
  });

  it('claims at the same time never take one job twice', async () => {
    for (let n = 0; n < 40; n++) await submit({ owner: `o${n % 4}` });
    const taken = await Promise.all(Array.from({ length: 60 }, () => claimOne()));
    const ids = taken.flatMap((job) => (job ? [job.id] : []));
    expect(ids).toHaveLength(40);
    expect(new Set(ids).size).toBe(40);
  });

  it('owners take turns within a priority, and a higher priority goes first', async () => {
    for (const owner of ['a', 'a', 'a', 'b']) await submit({ owner });
    await submit({ owner: 'c', priority: 5 });
    const order: string[] = [];
    for (let n = 0; n < 5; n++) order.push((await claimOne())!.owner);
    expect(order[0]).toBe('c');
    expect(order.slice(1, 3).sort()).toEqual(['a', 'b']);
    expect(order.slice(3)).toEqual(['a', 'a']);
  });

  describe('claims that come together', () => {
    const asking = (count: number, workerId = 'w') =>
      Array.from({ length: count }, () => ({ queue: 'q', claimId: randomUUID(), workerId }));
    const claimTogether = async (count: number) =>
      (await lifecycle.claim(asking(count), LEASE)).flatMap((job) => (job ? [job] : []));

    it('get a job each, by priority and submission, as long as there are any', async () => {
      const late = [await submit(), await submit(), await submit()];
      const soon = [await submit({ priority: 5 }), await submit({ priority: 5 })];
      const expected = [...soon, ...late].map((job) => job.id);
      expect((await claimTogether(4)).map((job) => job.id).sort()).toEqual(expected.slice(0, 4).sort());
      expect((await claimTogether(4)).map((job) => job.id)).toEqual(expected.slice(4));
      for (const id of expected) expect(await eventsOf(id)).toEqual(['queued', 'running']);
      const attempts = await database.query(
        'SELECT job_id, claim_id, worker_id FROM attempts ORDER BY job_id',
      );
      expect(attempts).toEqual(
        await database.query('SELECT id AS job_id, claim_id, worker_id FROM jobs ORDER BY id'),
      );
      expect(new Set(attempts.map((row) => row['claim_id'])).size).toBe(5);
    });

    it('are given in turn to owners of one priority', async () => {
      for (const owner of ['a', 'a', 'a', 'a', 'b', 'b']) await submit({ owner });
      const given = (await claimTogether(4)).map((job) => job.owner);
      expect(given.sort()).toEqual(['a', 'a', 'b', 'b']);
      expect((await claimTogether(4)).map((job) => job.owner)).toEqual(['a', 'a']);
    });

    it('take no more of an owner than its cap', async () => {
      await database.query(`UPDATE queues SET settings = '{"maxRunningPerOwner": 3}'`);
      for (let n = 0; n < 6; n++) await submit({ owner: 'a' });
      expect(await claimTogether(5)).toHaveLength(3);
      expect(await claimTogether(5)).toEqual([]);
      await submit({ owner: 'b' });
      expect((await claimTogether(5)).map((job) => job.owner)).toEqual(['b']);
    });

    it('of which some were asked before get their own again, and the others new ones', async () => {
      for (let n = 0; n < 4; n++) await submit();
      const [first, second, third] = asking(3);
      const [before] = await lifecycle.claim([second!], LEASE);
      const given = await lifecycle.claim([first!, second!, first!, third!], LEASE);
      expect(given[1]).toMatchObject({ id: before!.id, attempt: 1, event_id: null });
      expect(given[2]).toEqual(given[0]);
      expect(new Set(given.map((job) => job!.id)).size).toBe(3);
      expect(await database.query(`SELECT FROM jobs WHERE state = 'queued'`)).toHaveLength(1);
    });

    it('of several workers and queues get their own', async () => {
      await database.query(`INSERT INTO queues (name, source) VALUES ('r', 'configuration')`);
      for (const queue of ['q', 'q', 'r']) await submit({ queue });
      const claims = [
        { queue: 'r', claimId: randomUUID(), workerId: 'w' },
        { queue: 'q', claimId: randomUUID(), workerId: 'v' },
        { queue: 'none', claimId: randomUUID(), workerId: 'w' },
        { queue: 'q', claimId: randomUUID(), workerId: 'w' },
        { queue: 'r', claimId: randomUUID(), workerId: 'v' },
      ];
      const given = await lifecycle.claim(claims, LEASE);
      expect(given.map((job) => job && [job.queue, job.worker_id])).toEqual([
        ['r', 'w'],
        ['q', 'v'],
        undefined,
        ['q', 'w'],
        undefined,
      ]);
    });

    it('step over a job that somebody holds at that moment', async () => {
      const jobs = [await submit(), await submit(), await submit()];
      await database.transaction(async (other) => {
        await other.query('SELECT FROM jobs WHERE id = $1 FOR UPDATE', [jobs[1]!.id]);
        const given = (await claimTogether(3)).map((job) => job.id);
        expect(given.sort()).toEqual([jobs[0]!.id, jobs[2]!.id].sort());
      });
      expect((await claimTogether(3)).map((job) => job.id)).toEqual([jobs[1]!.id]);
    });
  });

  describe('in a queue of jobs that not every worker may take', () => {
    const MEMORY = { ...newJob().spec, limits: { ...newJob().spec.limits, memory: 1 } };
    const CAGED = { ...MEMORY, isolation: 'cgroup' as const };
    const register = (id: string, words: string[]) =>
      database.query(
        `INSERT INTO workers (id, host, version, image, queues, capabilities, enforces, started_at)
         VALUES ($1, 'host of ' || $1, '1', 'image of ' || $1, '{}', '{}', $2, now())`,
        [id, maskOf(words)],
      );
    const claimAs = (worker: string) => claimOne(randomUUID(), worker);

    it('a worker gets only what it enforces, and one that is not registered what needs nothing', async () => {
      await register('strong', ['limit:memory', 'isolation:cgroup', 'limit:cpu']);
      await register('middling', ['limit:memory']);
      const caged = await submit({ spec: CAGED });
      const limited = await submit({ spec: MEMORY });
      const plain = await submit();
      expect(await claimAs('stranger')).toMatchObject({ id: plain.id });
      expect(await claimAs('stranger')).toBeUndefined();
      expect(await claimAs('middling')).toMatchObject({ id: limited.id });
      expect(await claimAs('middling')).toBeUndefined();
      expect(await claimAs('strong')).toMatchObject({ id: caged.id });
      const [attempt] = await database.query('SELECT host, image FROM attempts WHERE job_id = $1', [
        caged.id,
      ]);
      expect(attempt).toEqual({ host: 'host of strong', image: 'image of strong' });
    });

    it("one owner's jobs go by priority and submission, whatever they require", async () => {
      await register('strong', ['limit:memory', 'isolation:cgroup']);
      const specs = [MEMORY, newJob().spec, CAGED, MEMORY];
      const inOrder = [];
      for (const spec of specs) inOrder.push((await submit({ id: newJobId(), spec })).id);
      const urgent = await submit({ id: newJobId(), spec: CAGED, priority: 5 });
      const claimed = [];
      for (let n = 0; n < 5; n++) claimed.push((await claimAs('strong'))?.id);
      expect(claimed).toEqual([urgent.id, ...inOrder]);
    });

    it('an owner has one turn and one cap, however many sets of requirements its jobs have', async () => {
      await database.query(`UPDATE queues SET settings = '{"maxRunningPerOwner": 2}'`);
      await register('strong', ['limit:memory', 'isolation:cgroup']);
      for (const spec of [MEMORY, CAGED, newJob().spec, MEMORY]) await submit({ owner: 'many', spec });
      for (let n = 0; n < 3; n++) await submit({ owner: 'one' });
      const owners = [];
      const claimed = [];
      for (let n = 0; n < 5; n++) {
        const job = await claimAs('strong');
        owners.push(job?.owner);
        if (job) claimed.push(job);
      }
      expect(owners.slice(0, 4).sort()).toEqual(['many', 'many', 'one', 'one']);
      expect(owners[0]).not.toBe(owners[1]);
      expect(owners[4]).toBeUndefined();
      await lifecycle.finish([report(claimed.find((job) => job.owner === 'many')!)]);
      expect(await claimAs('strong')).toMatchObject({ owner: 'many' });
      expect(await claimAs('strong')).toBeUndefined();
    });

    it('counts stay right while submissions, claims and ends of many kinds cross', async () => {
      await register('strong', ['limit:memory', 'isolation:cgroup']);
      await register('weak', []);
      const specs = [newJob().spec, MEMORY, CAGED, { ...CAGED, limits: { ...CAGED.limits, disk: 1 } }];
      const crossing = Array.from({ length: 12 }, async (_none, n) => {
        for (let round = 0; round < 8; round++) {
          const jobs = specs.map((spec) => ({ ...newJob(), owner: `o${(n + round) % 3}`, spec }));
          await lifecycle.submit(jobs.slice(round % 2, 2 + (n % 3)));
          const claimed = await claimAs(n % 2 === 0 ? 'strong' : 'weak');
          if (claimed) await lifecycle.finish([report(claimed)]);
        }
      });
      await Promise.all(crossing);
    });
  });

  it('a canceled job of high priority does not leave its priority behind', async () => {
    const { id } = await submit({ owner: 'a', priority: 9 });
    await submit({ owner: 'a', priority: 1 });
    await submit({ owner: 'b', priority: 2 });
    await lifecycle.cancel(id);
    expect((await claimOne())!.owner).toBe('b');
  });

  it('an owner at the cap waits while others go on', async () => {
    await database.query(`UPDATE queues SET settings = '{"maxRunningPerOwner": 1}'`);
    for (const owner of ['a', 'a', 'b']) await submit({ owner });
    const first = await claimOne();
    const second = await claimOne();
    expect([first!.owner, second!.owner].sort()).toEqual(['a', 'b']);
    expect(await claimOne()).toBeUndefined();
    await lifecycle.finish([report(first!.owner === 'a' ? first! : second!)]);
    expect((await claimOne())!.owner).toBe('a');
  });

  it('a report of an attempt that is not current moves nothing', async () => {
    const { id } = await submit();
    const claimed = await claimOne();
    await lifecycle.lose({ jobId: id, attempt: 1, workerId: 'w', cause: 'worker_died' });
    expect(await lifecycle.finish([report(claimed!)])).toEqual([]);
    const next = await claimOne();
    expect(next).toMatchObject({ id, attempt: 2 });
    expect(await lifecycle.finish([report(claimed!)])).toEqual([]);
    expect(await lifecycle.finish([report(next!)])).toHaveLength(1);
    expect(await lifecycle.finish([report(next!)])).toEqual([]);
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'queued', 'running', 'succeeded']);
  });

  it('a report that comes twice in one batch is recorded once', async () => {
    const { id } = await submit();
    const claimed = await claimOne();
    expect(await lifecycle.finish([report(claimed!), report(claimed!)])).toHaveLength(1);
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'succeeded']);
  });

  it('a failed try goes back to the queue while tries are left', async () => {
    const { id } = await submit(withRetry({ tries: 2, backoff: 0 }));
    await lifecycle.finish([report((await claimOne())!, failure)]);
    const second = await claimOne();
    expect(second).toMatchObject({ id, attempt: 2 });
    const [end] = await lifecycle.finish([report(second!, failure)]);
    expect(end).toMatchObject({ state: 'failed', reason: 'exit_code' });
  });

  it('a retried job waits for its backoff, then is staged', async () => {
    const { id } = await submit(withRetry({ tries: 2, backoff: 3600 }));
    await lifecycle.finish([report((await claimOne())!, failure)]);
    expect(await claimOne()).toBeUndefined();
    expect(await lifecycle.stage()).toEqual([]);
    await database.query('UPDATE jobs SET available_at = now()');
    expect(await lifecycle.stage()).toEqual(['q']);
    expect(await claimOne()).toMatchObject({ id, attempt: 2 });
  });

  const runs = async (...ends: Partial<Outcome>[]) => {
    let moved: MovedJob | undefined;
    for (const end of ends) {
      await database.query(`UPDATE jobs SET available_at = now() WHERE state = 'queued'`);
      await lifecycle.stage();
      [moved] = await lifecycle.finish([report((await claimOne())!, end)]);
    }
    return rowOf(moved!.id);
  };
  const around: Partial<Outcome> = {
    state: 'failed',
    reason: 'input_error',
    infrastructure: true,
    message: 'Its input did not come.',
  };

  it.each([
    ['a reason', ['timeout'], { ...failure, reason: 'timeout' as const }, failure],
    ['an exit code', [75], { ...failure, exitCode: 75 }, { ...failure, exitCode: 76 }],
    ['a reason or an exit code', ['signal', 75], { ...failure, exitCode: 75 }, failure],
    ['any exit code', ['exit_code'], { ...failure, exitCode: 3 }, { ...failure, reason: 'signal' as const }],
    ['any failure of the command', undefined, failure, { ...failure, reason: 'input_error' as const }],
  ])('is tried again for %s, and for nothing else', async (_what, on, worthIt, final) => {
    await submit(withRetry({ tries: 5, on }));
    expect(await runs(worthIt)).toMatchObject({ state: 'queued', tries_left: 3 });
    expect(await runs(final)).toMatchObject({ state: 'failed', message: 'It failed. This was try 2 of 5.' });
  });

  it('pauses between tries double up to the longest, and chance only shortens them', async () => {
    const pauses = async (change: Parameters<typeof withRetry>[0]) => {
      await database.query('TRUNCATE jobs, attempts, events, lanes CASCADE');
      await submit(withRetry({ tries: 5, backoff: 100, ...change }));
      const seconds = [];
      for (let n = 0; n < 4; n++) {
        const { id } = await runs(failure);
        const [row] = await database.query<{ pause: number }>(
          'SELECT extract(epoch FROM available_at - e.at)::float AS pause FROM jobs, LATERAL (SELECT at FROM events WHERE job_id = $1 ORDER BY id DESC LIMIT 1) e',
          [id],
        );
        seconds.push(row!.pause);
      }
      return seconds;
    };
    expect((await pauses({ backoffMax: 300 })).map(Math.round)).toEqual([100, 200, 300, 300]);
    for (const [n, pause] of (await pauses({ jitter: 0.5 })).entries()) {
      expect(pause).toBeGreaterThanOrEqual(99.9 * 2 ** n * 0.5);
      expect(pause).toBeLessThanOrEqual(100 * 2 ** n);
    }
  });

  it('failures around the command use up none of its tries, and have an allowance of their own', async () => {
    const { id } = await submit(
      withRetry({ tries: 2, infrastructure: { tries: 2, backoff: 50, backoffMax: 60 } }),
    );
    expect(await runs(around)).toMatchObject({ state: 'queued', ready: true, tries_left: 1, losses_left: 1 });
    expect(await runs(failure)).toMatchObject({ state: 'queued', tries_left: 0, losses_left: 1 });
    expect(await runs(around)).toMatchObject({ state: 'queued', ready: false, losses_left: 0 });
    expect(await runs(around)).toMatchObject({
      state: 'failed',
      reason: 'input_error',
      message: 'Its input did not come. Such failures are forgiven 2 times.',
    });
    const history = await database.query(
      'SELECT ending, reason, infrastructure, message FROM attempts WHERE job_id = $1 ORDER BY attempt',
      [id],
    );
    const told = { ending: 'failed', reason: 'input_error', infrastructure: true, message: around.message };
    const command = { ...told, reason: 'exit_code', infrastructure: false, message: failure.message };
    expect(history).toEqual([told, command, told, told]);
  });

  it('a job that is to be canceled is not tried again', async () => {
    const { id } = await submit(withRetry({ tries: 3 }));
    const claimed = await claimOne();
    await lifecycle.cancel(id);
    expect((await lifecycle.finish([report(claimed!, failure)]))[0]).toMatchObject({ state: 'failed' });
  });

  it('a lease that ran out gives the job back, and fails it when the allowance is used up', async () => {
    const { id } = await submit(withRetry({ infrastructure: { ...INFRASTRUCTURE, tries: 1 } }));
    for (const expected of [{ state: 'queued' }, { state: 'failed', reason: 'worker_lost' }]) {
      await claimOne();
      expect(await lifecycle.reclaim()).toEqual([]);
      await database.query(`UPDATE jobs SET lease_expires_at = now() - interval '1 s'`);
      expect(await lifecycle.reclaim()).toEqual([expect.objectContaining({ id, ...expected })]);
    }
    expect(await lifecycle.reclaim()).toEqual([]);
  });

  it.each(['drain', 'no_turn'] as const)(
    'handing back (%s) uses up nothing of the allowance',
    async (cause) => {
      const { id } = await submit(withRetry({ infrastructure: { ...INFRASTRUCTURE, tries: 0 } }));
      await claimOne();
      const moved = await lifecycle.lose({ jobId: id, attempt: 1, workerId: 'w', cause });
      expect(moved).toMatchObject({ state: 'queued', ready: true });
      expect(await rowOf(id)).toMatchObject({ losses_left: 0 });
    },
  );

  it('another worker cannot lose an attempt that is not its own', async () => {
    const { id } = await submit();
    await claimOne();
    expect(
      await lifecycle.lose({ jobId: id, attempt: 1, workerId: 'x', cause: 'worker_died' }),
    ).toBeUndefined();
  });

  it('a waiting job is canceled at once, of a running one the intent is kept', async () => {
    const waiting = await submit();
    expect(await lifecycle.cancel(waiting.id)).toMatchObject({ state: 'canceled' });
    expect(await lifecycle.cancel(waiting.id)).toBeUndefined();
    const { id } = await submit();
    await claimOne();
    expect(await lifecycle.cancel(id)).toMatchObject({ state: 'running', event_id: null });
    await lifecycle.lose({ jobId: id, attempt: 1, workerId: 'w', cause: 'worker_died' });
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'canceled']);
  });

  it('a held job is not claimed until it is released', async () => {
    const { id } = await submit({ hold: true });
    expect(await claimOne()).toBeUndefined();
    expect(await lifecycle.release(id)).toMatchObject({ state: 'queued', ready: true });
    expect(await lifecycle.hold(id)).toMatchObject({ state: 'held', ready: false });
    expect(await claimOne()).toBeUndefined();
    await lifecycle.release(id);
    expect(await claimOne()).toMatchObject({ id });
  });

  it('a job past its time to live fails as expired', async () => {
    const { id } = await submit({ ttl: 0 });
    expect(await lifecycle.expire()).toEqual([
      expect.objectContaining({ id, state: 'failed', reason: 'expired' }),
    ]);
  });

  it('a callback gets one delivery for each state that it asked for', async () => {
    const { id } = await submit({ callback: { url: 'http://localhost/', events: ['running', 'succeeded'] } });
    await lifecycle.finish([report((await claimOne())!)]);
    const rows = await database.query(
      'SELECT e.state FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.job_id = $1 ORDER BY e.id',
      [id],
    );
    expect(rows).toEqual([{ state: 'running' }, { state: 'succeeded' }]);
  });

  it.each([
    `UPDATE jobs SET state = 'lost', ready = false`,
    `UPDATE jobs SET state = 'running', ready = false`,
    `UPDATE jobs SET state = 'held'`,
    `UPDATE jobs SET state = 'succeeded', ready = false`,
    `UPDATE jobs SET finished_at = now()`,
    `UPDATE jobs SET lease_expires_at = now()`,
    `UPDATE jobs SET state = 'running', ready = false, attempt = 1, worker_id = 'w', lease_expires_at = now()`,
    `UPDATE jobs SET reason = 'exit_code'`,
    `UPDATE jobs SET state = 'failed', ready = false, finished_at = now()`,
    `UPDATE jobs SET state = 'failed', ready = false, finished_at = now(), reason = 'boredom'`,
    `INSERT INTO attempts (job_id, attempt, worker_id, claim_id, started_at, ending)
       SELECT id, 1, 'w', gen_random_uuid(), now(), 'succeeded' FROM jobs`,
    `INSERT INTO attempts (job_id, attempt, worker_id, claim_id, started_at, ending, finished_at)
       SELECT id, 1, 'w', gen_random_uuid(), now(), 'bored', now() FROM jobs`,
  ])('the database itself refuses %s', async (statement) => {
    await submit();
    await expect(database.query(statement)).rejects.toThrow(/violates check constraint "\w+_are_sound"/);
  });

  it('a job that is deleted takes along its attempts, events and deliveries, and no others', async () => {
    const callback: NewJob['callback'] = { url: 'http://localhost/', events: ['succeeded'] };
    const { id } = await submit({ callback });
    await lifecycle.finish([report((await claimOne())!)]);
    await submit({ callback });
    await lifecycle.finish([report((await claimOne())!)]);
    await database.query('DELETE FROM jobs WHERE id = $1', [id]);
    const left = await database.query(
      `SELECT (SELECT count(*) FROM attempts)::int AS attempts, (SELECT count(*) FROM events)::int AS events,
              (SELECT count(*) FROM deliveries)::int AS deliveries`,
    );
    expect(left).toEqual([{ attempts: 1, events: 3, deliveries: 1 }]);
  });

  it('the database itself refuses a second final event', async () => {
    const { id } = await submit();
    await lifecycle.finish([report((await claimOne())!)]);
    await expect(
      database.query(
        `INSERT INTO events (job_id, queue, owner, state, attempt) VALUES ($1, 'q', 'o', 'failed', 1)`,
        [id],
      ),
    ).rejects.toThrow('events_one_final');
  });
});

function withRetry(change: Partial<EffectiveSpec['retry']>): Partial<NewJob> {
  return { spec: { ...newJob().spec, retry: { ...RETRY, ...change } } };
}

function newJob(): NewJob {
  return {
    id: newJobId(),
    queue: 'q',
    owner: 'o',
    name: undefined,
    hold: false,
    delay: 0,
    ttl: undefined,
    priority: 0,
    spec: {
      command: ['/bin/true'],
      env: {},
      outputs: ['**'],
      limits: { wallTime: 60, killGrace: 5, output: 1e6 },
      onOutputLimit: 'cut',
      retry: RETRY,
    },
    inputs: [],
    labels: {},
    callback: null,
    traceparent: undefined,
  };
}

function report(job: MovedJob, change: Partial<Outcome> = {}): Finished {
  const empty = { bytes: 0, cut: false, tail: '', whole: true };
  const now = new Date().toISOString();
  return {
    jobId: job.id,
    attempt: job.attempt,
    workerId: 'w',
    outcome: {
      state: 'succeeded',
      exitCode: 0,
      startedAt: now,
      finishedAt: now,
      usage: { wallSeconds: 0 },
      stdout: empty,
      stderr: empty,
      outputs: null,
      ...change,
    },
  };
}
