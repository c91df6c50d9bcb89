import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';
import { Journal } from '../support/journal.js';
import { jobProcesses } from '../support/processes.js';
import { eventually } from '../support/signals.js';
import { LEASE, Town } from '../support/town.js';

/** Leases and drains of a whole Labhand, each part a process of its own. */

const LONGER_THAN_A_LEASE_MS = (LEASE + 1) * 1000;

jest.setTimeout(90_000);

let town: Town;
let journal: Journal;

beforeAll(async () => {
  town = await Town.start({ workers: 2, slots: 2 });
  journal = new Journal();
});
afterAll(async () => {
  await town.end();
  journal.close();
});
beforeEach(() => town.ready());
afterEach(async () => {
  expect(journal.overlaps()).toEqual([]);
  expect(town.faults()).toEqual([]);
  await eventually(() => jobProcesses(town.folder).length, 0);
});

/** Runs until the file `name` of the test is made. */
const until = (name: string) => `until [ -e '${file(name)}' ]; do sleep 0.05; say tick; done`;
const file = (name: string) => join(town.folder, name);
const open = (name: string) => writeFileSync(file(name), '');
const submit = async (spec: JobSpecInput) => (await town.client.post('/v1/jobs', spec)).body;
const sh = (script: string) => ({ command: ['sh', '-c', script] });
const says = (job: JobView, line: string) => eventually(() => journal.of(job.id).includes(line), true);
const final = async (job: JobView) => {
  await eventually(
    async () => (await town.client.get(`/v1/jobs/${job.id}?wait=20`)).body.state !== 'running',
    true,
  );
  return (await town.client.get(`/v1/jobs/${job.id}`)).body;
};
/** The worker that runs the job, and the other one. */
const workersOf = async (job: JobView) => {
  const rows = await town.rows<{ worker_id: string }>('SELECT worker_id FROM jobs WHERE id = $1', [job.id]);
  const at = town.workers.findIndex(({ log }) => log.includes(`registered as ${rows[0]!.worker_id}"`));
  return [town.workers[at]!, town.workers[1 - at]!] as const;
};

describe('a running job', () => {
  it.each([
    [
      'a gateway that is away for longer than a lease',
      async (whileGone: () => Promise<void>) => {
        await town.gateways[0]!.end('SIGKILL');
        await whileGone();
        town.gateways[0]!.start();
      },
    ],
    [
      'a broker that is away for longer than a lease',
      (whileGone: () => Promise<void>) => town.restartRabbitMq({}, whileGone),
    ],
    [
      'a database that is away for longer than a lease',
      (whileGone: () => Promise<void>) => town.restartPostgres(whileGone),
    ],
  ])('outlives %s, in its one attempt', async (what, outage) => {
    const over = what.replaceAll(' ', '-');
    const job = await submit(sh(journal.script(0, until(over))));
    await says(job, 'tick 1');
    await outage(() => pause(LONGER_THAN_A_LEASE_MS));
    await town.ready();
    // A reaper that had counted the outage would act within this time.
    await pause(1000);
    open(over);
    expect(await final(job)).toMatchObject({ state: 'succeeded', attempt: 1 });
  });

  it('goes to another worker when its own one is frozen for longer than its lease, and only one outcome counts', async () => {
    const job = await submit(
      sh(`if [ $LABHAND_ATTEMPT = 1 ]; then sleep 300; else ${journal.script(2)}; fi`),
    );
    await eventually(() => jobProcesses(town.folder).length > 0, true);
    const [frozen] = await workersOf(job);
    frozen.signal('SIGSTOP');
    expect(await final(job)).toMatchObject({ state: 'succeeded', attempt: 2 });
    expect(jobProcesses(town.folder)).not.toEqual([]);
    frozen.signal('SIGCONT');
    // It is told that the attempt is not its own any more, and ends the tree.
    await eventually(() => jobProcesses(town.folder).length, 0);
    await eventually(() => town.leftovers().join(), '');
    expect((await town.client.get(`/v1/jobs/${job.id}`)).body).toMatchObject({
      state: 'succeeded',
      attempt: 2,
    });
  });

  it('runs again only when nothing of its last attempt lives, however soon a killed worker is back', async () => {
    const job = await submit({
      ...sh(`trap '' TERM; ${journal.script('$((LABHAND_ATTEMPT == 1 ? 400 : 2))')}`),
      limits: { killGrace: 2 },
    });
    await says(job, 'tick 1');
    const [worker] = await workersOf(job);
    await worker.end('SIGKILL');
    worker.start();
    expect(await final(job)).toMatchObject({ state: 'succeeded', attempt: 2 });
    await eventually(() => town.leftovers().join(), '');
  });
});

describe('a gateway that is told to stop', () => {
  it('answers those who wait with what there is, takes the rest of an upload, and ends', async () => {
    const job = await submit(sh(journal.script(0, until('answered'))));
    await says(job, 'tick 1');
    const waiting = town.client.get(`/v1/jobs/${job.id}?wait=60`);
    const upload = await slowUpload();
    const gone = town.gateways[0]!.end('SIGTERM');
    expect((await waiting).body).toMatchObject({ id: job.id, state: 'running' });
    expect(await upload.finish()).toMatch(/^HTTP\/1.1 202 /);
    expect(await gone).toBe(0);
    open('answered');
    town.gateways[0]!.start();
    await town.ready();
    expect(await final(job)).toMatchObject({ state: 'succeeded', attempt: 1 });
    // A connection that is kept alive must not hold it up.
  }, 30_000);
});

describe('a worker that is told to stop', () => {
  it('lets what runs end, and begins nothing else', async () => {
    const job = await submit(sh(journal.script(0, until('ended'))));
    await says(job, 'tick 1');
    const [worker] = await workersOf(job);
    const gone = worker.end('SIGTERM');
    await eventually(() => worker.log.includes('attempts get 10 s to end'), true);
    open('ended');
    expect(await gone).toBe(0);
    expect(await final(job)).toMatchObject({ state: 'succeeded', attempt: 1 });
    worker.start();
  });

  it('hands back what does not end in time, to a worker that has the time', async () => {
    const job = await submit(
      sh(
        `if [ $LABHAND_ATTEMPT = 1 ]; then ${journal.script(0, until('never'))}; else ${journal.script(2)}; fi`,
      ),
    );
    await says(job, 'tick 1');
    const [worker] = await workersOf(job);
    const gone = worker.end('SIGTERM');
    await eventually(() => worker.log.includes('attempts get 10 s to end'), true);
    // Told twice it does not use up its time.
    worker.signal('SIGTERM');
    expect(await gone).toBe(0);
    expect(await final(job)).toMatchObject({ state: 'succeeded', attempt: 2 });
    const [attempt] = await town.rows('SELECT ending FROM attempts WHERE job_id = $1 AND attempt = 1', [
      job.id,
    ]);
    expect(attempt).toEqual({ ending: 'handed_back' });
    worker.start();
  });
});

describe('the log', () => {
  it('names the job in the line of the request that made it, and in those of the worker that lost it', async () => {
    const job = await submit(sh(journal.script(0, until('never told'))));
    await says(job, 'tick 1');
    const [worker] = await workersOf(job);
    await worker.end('SIGKILL');
    worker.start();
    open('never told');
    expect(await final(job)).toMatchObject({ state: 'succeeded' });
    const about = (log: string) => linesOf(log).filter(({ jobId }) => jobId === job.id);
    expect(about(town.gateways[0]!.log)).toContainEqual(
      expect.objectContaining({ msg: 'POST /v1/jobs 202', requestId: expect.any(String) }),
    );
    expect(about(worker.log)).toContainEqual(
      expect.objectContaining({ msg: 'An attempt died with the last run of this worker.', attempt: 1 }),
    );
  });
});

const linesOf = (log: string) =>
  log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** A submission with a file of which half has been sent. */
async function slowUpload(): Promise<{ finish(): Promise<string> }> {
  const { port, hostname } = new URL(town.client.url);
  const head = [
    '--b',
    'Content-Disposition: form-data; name="job"',
    '',
    JSON.stringify(sh('cat half.txt')),
    '--b',
    'Content-Disposition: form-data; name="file"; filename="half.txt"',
    '',
    'the first half, ',
  ].join('\r\n');
  const rest = 'the second half\r\n--b--\r\n';
  const socket = connect(Number(port), hostname);
  socket.write(
    `POST /v1/jobs HTTP/1.1\r\nHost: labhand\r\nAuthorization: Bearer ${town.adminKey}\r\n` +
      'Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n' +
      `Content-Length: ${head.length + rest.length}\r\n\r\n${head}`,
  );
  // The file arrives in the blob store before its end is sent.
  await eventually(() => town.unfinishedBlobs().length, 1);
  return {
    finish: async () => {
      // Not `end`: to Node a client that closes its half has gone.
      socket.write(rest);
      let answer = '';
      for await (const chunk of socket) answer += String(chunk);
      return answer;
    },
  };
}
