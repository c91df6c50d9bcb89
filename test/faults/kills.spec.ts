import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';
import { CallbackReceiver } from '../support/callback-receiver.js';
import { Journal } from '../support/journal.js';
import { jobProcesses, processesWith } from '../support/processes.js';
import { randomFrom } from '../support/random.js';
import { eventually } from '../support/signals.js';
import { Town } from '../support/town.js';

/** Under way while something is killed again and again. */
const JOBS = 300;
const SUBMITTERS = 12;
const PATIENCE_MS = 60_000;

/** LABHAND_TEST_SEED repeats the choices of a failed run; the machine's own timing is its own. */
const seed = Number(process.env.LABHAND_TEST_SEED ?? randomInt(2 ** 31));
const random = randomFrom(seed);

interface Kill {
  readonly what: string;
  readonly times: number;
  readonly kill: () => Promise<unknown>;
  /** Brings back what stayed dead. */
  readonly mend?: () => void;
}

jest.setTimeout(120_000);

describe(`every accepted job ends once (LABHAND_TEST_SEED=${seed})`, () => {
  let town: Town;
  let journal: Journal;
  let receiver: CallbackReceiver;

  beforeAll(async () => {
    town = await Town.start({ gateways: 2, workers: 2, slots: 8 });
    journal = new Journal();
    receiver = await CallbackReceiver.listen();
  });
  afterAll(async () => {
    await receiver.close();
    journal.close();
    expect(await town.end()).toEqual([0, 0, 0, 0]);
    expect(processesWith(town.folder)).toEqual([]);
  });

  const oneOf = <T>(many: readonly T[]) => many[Math.floor(random() * many.length)]!;
  const restart = async (programs: Town['workers']) => {
    const one = oneOf(programs);
    await one.end('SIGKILL');
    one.start();
  };
  const kills: Kill[] = [
    { what: 'a worker', times: 3, kill: () => restart(town.workers) },
    {
      what: 'a worker that does not come back',
      times: 1,
      kill: () => town.workers[1]!.end('SIGKILL'),
      mend: () => town.workers[1]!.start(),
    },
    { what: 'a gateway', times: 3, kill: () => restart(town.gateways) },
    { what: 'RabbitMQ', times: 2, kill: () => town.restartRabbitMq() },
    { what: 'RabbitMQ and all its data', times: 1, kill: () => town.restartRabbitMq({ wiped: true }) },
    { what: 'Postgres', times: 2, kill: () => town.restartPostgres() },
  ];

  it.each(kills)('while $what is killed', async ({ times, kill, mend }) => {
    const before = journal.count('start');
    const giveUp = new AbortController();
    const submissions = submitAll(giveUp.signal);
    submissions.catch(() => undefined);
    try {
      for (let nth = 0; nth < times; nth++) {
        const moment = Math.ceil((JOBS * (nth + random())) / (times + 1));
        await eventually(() => journal.count('start') - before >= moment, true, PATIENCE_MS);
        await kill();
      }
      const jobs = await submissions;
      await allFinal(jobs);
      mend?.();
      await town.ready();
      await balance(jobs);
    } catch (error) {
      giveUp.abort();
      throw new Error(`${(error as Error).message}\n${town.lastWords()}`, { cause: error });
    }
  });

  /** @returns the ids, in the order of their keys */
  async function submitAll(giveUp: AbortSignal): Promise<string[]> {
    const ids: string[] = [];
    const numbers = Array.from({ length: JOBS }, (_, n) => n).values();
    const submitter = async () => {
      for (const n of numbers) ids[n] = (await submitSurely(n, giveUp)).id;
    };
    await Promise.all(Array.from({ length: SUBMITTERS }, submitter));
    return ids;
  }

  /** Some leave files, some call back, some are deaf to TERM. */
  function job(n: number): JobSpecInput {
    const end = n % 3 === 0 ? 'echo result > result.txt' : 'true';
    const script = journal.script(2 + (n % 4), n % 4 === 0 ? `cat input.txt && ${end}` : end);
    return {
      command: ['sh', '-ec', n % 10 === 1 ? `trap '' TERM; ${script}` : script],
      limits: { killGrace: 1 },
      ...(n % 3 === 1 ? { callback: { url: receiver.url() } } : {}),
    };
  }

  /** As a careful client does: with a key, until there is an answer. Some bring a file. */
  async function submitSurely(n: number, giveUp: AbortSignal): Promise<JobView> {
    const key = { 'idempotency-key': randomUUID() };
    for (;;) {
      const client = oneOf(town.clients);
      const answering =
        n % 4 === 0
          ? client.upload(job(n), [['file', 'input.txt', `input ${n}`]], key)
          : client.post('/v1/jobs', job(n), key);
      const answer = await answering.catch(() => undefined);
      if (answer?.status === 202) return answer.body;
      const mayPass = !answer || answer.status === 409 || answer.status >= 500;
      if (!mayPass) throw new Error(`refused: ${JSON.stringify(answer.body)}`);
      giveUp.throwIfAborted();
      await pause(50);
    }
  }

  async function allFinal(jobs: string[]): Promise<void> {
    const open = async () => {
      const rows = await town.rows<{ open: number }>(
        'SELECT count(*)::integer AS open FROM jobs WHERE id = ANY ($1) AND finished_at IS NULL',
        [jobs],
      );
      return rows[0]!.open;
    };
    await eventually(open, 0, PATIENCE_MS);
  }

  async function balance(jobs: string[]): Promise<void> {
    const states = await town.rows(
      'SELECT state, count(*)::integer AS jobs FROM jobs WHERE id = ANY ($1) GROUP BY state',
      [jobs],
    );
    expect(states).toEqual([{ state: 'succeeded', jobs: JOBS }]);
    // One job for each key, however often it was sent.
    expect(
      await town.rows(
        'SELECT id FROM jobs WHERE NOT id = ANY ($1) AND created_at > (SELECT min(created_at) FROM jobs WHERE id = ANY ($1))',
        [jobs],
      ),
    ).toEqual([]);
    expect(
      await town.rows(
        `SELECT job_id FROM events WHERE job_id = ANY ($1) AND state IN ('succeeded', 'failed', 'canceled')
         GROUP BY job_id HAVING count(*) <> 1`,
        [jobs],
      ),
    ).toEqual([]);
    expect(journal.overlaps()).toEqual([]);
    await everyCallbackCame(jobs);
    await eventually(() => town.leftovers().join(), '', PATIENCE_MS);
    await eventually(() => jobProcesses(town.folder).length, 0);
    expect(town.faults()).toEqual([]);
  }

  async function everyCallbackCame(jobs: string[]): Promise<void> {
    // A gateway that was killed in the middle of a try holds it for a minute: let the minute be over.
    await town.rows(`UPDATE deliveries SET next_try_at = now() WHERE state = 'due'`);
    const due = async () =>
      (await town.rows(`SELECT id FROM deliveries WHERE state <> 'delivered' LIMIT 1`)).length;
    await eventually(due, 0, PATIENCE_MS);
    const ids = new Map<string, Set<string>>();
    for (const { headers, body } of receiver.received) {
      const { type, data } = JSON.parse(body) as { type: string; data: JobView };
      expect(type).toBe('job.succeeded');
      ids.set(data.id, (ids.get(data.id) ?? new Set()).add(String(headers['webhook-id'])));
    }
    const expected = jobs.filter((_id, n) => n % 3 === 1);
    expect(expected.map((id) => ids.get(id)?.size)).toEqual(expected.map(() => 1));
  }
});
