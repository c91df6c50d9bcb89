import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { ticketsQueue } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { Tickets } from '#gateway/dispatch/tickets.js';
import { startHouse, type House } from '../support/house.js';
import { eventually } from '../support/signals.js';

/** Which worker gets which job, and what clients are told of it. */

let house: House;
const view = async (id: string) => (await house.client.get(`/v1/jobs/${id}`)).body;
const submit = async (job: object = {}) =>
  (await house.client.post('/v1/jobs', { command: ['true'], ...job })).body.id;
const MEMORY = { limits: { memory: '1Gi' } };
const CAGED = { ...MEMORY, isolation: 'cgroup' };

/** Registers, and takes a ticket at a time in each slot; what its claims were answered. */
async function serve(workerId: string, enforces: string, slots = 1): Promise<(string | null)[]> {
  const channel = house.gateway.app.get(ChannelClient);
  await channel.ask(
    'register',
    {
      workerId,
      host: 'here',
      version: '1',
      startedAt: new Date().toISOString(),
      queues: { default: { slots } },
      capabilities: { enforces },
    },
    { timeoutMs: 10_000 },
  );
  const answers: (string | null)[] = [];
  await house.gateway.app
    .get<Broker>(BROKER)
    .consume({ queue: ticketsQueue('default') }, { consumers: slots, prefetch: 1 }, async () => {
      const claim = { claimId: randomUUID(), workerId, queue: 'default' };
      const { job } = await channel.ask('claim', claim, { timeoutMs: 10_000 });
      answers.push(job?.jobId ?? null);
      return 'ack';
    });
  return answers;
}

afterEach(() => house.end());

describe('a job that not every worker may take', () => {
  beforeEach(async () => {
    // The reconciler is called by the tests.
    house = await startHouse({ worker: false, gateway: { reconcile: 600, queues: {} } });
  });
  const reconcile = () => house.gateway.app.get(Tickets).reconcile();

  it('says what it requires and that no worker is there, until one comes', async () => {
    await serve('weak', 'limit:memory');
    const id = await submit(CAGED);
    expect(await view(id)).toMatchObject({
      isolation: 'cgroup',
      limits: { memory: 2 ** 30 },
      requires: ['isolation:cgroup', 'limit:memory'],
      waitingFor: {
        what: 'worker',
        message:
          'It waits for a worker of the queue default that enforces isolation:cgroup, limit:memory; 1 of that queue is there and cannot.',
      },
    });
    const answers = await serve('strong', 'isolation:process isolation:cgroup limit:memory');
    expect((await view(id)).waitingFor).toMatchObject({ what: 'slot' });
    await reconcile();
    await eventually(() => answers.join(), [id].join());
    expect(await view(id)).toMatchObject({ state: 'running', worker: 'strong' });
    expect(await view(id)).not.toHaveProperty('waitingFor');
  });

  it('costs no tickets while no worker may take it', async () => {
    const answers = await serve('weak', '');
    await submit(MEMORY);
    await eventually(() => answers.length, 1);
    for (let round = 0; round < 3; round++) await reconcile();
    const plain = await submit();
    await eventually(() => answers.length, 2);
    expect(answers).toEqual([null, plain]);
  });

  it('reaches the one worker that may take it past many that may not', async () => {
    await serve('weak', 'limit:cpu', 8);
    const answers = await serve('strong', 'limit:cpu limit:memory');
    const first = await submit(MEMORY);
    await reconcile();
    await eventually(() => answers.includes(first), true);
  });

  it('is shown with what its workers have been shown to enforce', async () => {
    await serve('weak', 'limit:memory limit:light isolation:process');
    const { body } = await house.client.get<{ workers: unknown[] }>('/v1/workers');
    expect(body.workers).toMatchObject([{ id: 'weak', enforces: ['isolation:process', 'limit:memory'] }]);
  });
});

describe('what a job waits for', () => {
  it.each([
    ['release', { hold: true }],
    ['delay', { delay: '1h' }],
    ['worker', {}],
  ])('is its %s', async (what, job) => {
    house = await startHouse({
      worker: false,
      gateway: { queues: { default: { policy: 'any', onOutputLimit: 'cut' } } },
    });
    expect((await view(await submit(job))).waitingFor).toMatchObject({ what });
  });

  it("is its owner's cap, or its turn", async () => {
    const queue = { policy: 'any' as const, onOutputLimit: 'cut' as const, maxRunningPerOwner: 1 };
    house = await startHouse({ worker: false, gateway: { queues: { default: queue } } });
    const answers = await serve('w', '');
    const first = await submit();
    await eventually(() => answers.join(), [first].join());
    expect((await view(await submit())).waitingFor).toEqual({
      what: 'cap',
      message: 'Its owner has 1 job running in the queue default, which allows 1 at once.',
    });
  });

  it('is a slot, with how many of its owner go first', async () => {
    house = await startHouse({ worker: { queues: { default: 1 } } });
    const long = await submit({ command: ['sleep', '600'] });
    await eventually(async () => (await view(long)).state, 'running');
    const [first, second, urgent] = [await submit(), await submit(), await submit({ priority: 9 })];
    const messages = [];
    for (const id of [first, second, urgent]) messages.push((await view(id)).waitingFor?.message);
    expect(messages.map((message) => message?.split('; ')[1])).toEqual([
      '1 job of its owner go first.',
      '2 jobs of its owner go first.',
      "it is the next of its owner's.",
    ]);
  });
});

it('each attempt is kept with its logs, its end and where it ran', async () => {
  house = await startHouse({ worker: { image: 'lab/tool:1' } });
  const job = await house.run({
    command: [
      'sh',
      '-c',
      'echo try $LABHAND_ATTEMPT; echo $LABHAND_ATTEMPT > out; exit 7$((4 + LABHAND_ATTEMPT))',
    ],
    retry: { tries: 5, on: [75], backoff: 0 },
  });
  expect(job).toMatchObject({
    state: 'failed',
    reason: 'exit_code',
    exitCode: 76,
    message: 'The command exited with code 76. This was try 2 of 5.',
  });
  const { attempts } = await view(job.id);
  const place = { ending: 'failed', reason: 'exit_code', host: hostname(), image: 'lab/tool:1' };
  expect(attempts).toMatchObject([
    { ...place, attempt: 1, exitCode: 75, message: 'The command exited with code 75.' },
    { ...place, attempt: 2, exitCode: 76, usage: { wallSeconds: expect.any(Number) as number } },
  ]);
  for (const { attempt, links } of attempts!) {
    expect(await house.client.text(`${links.logs}&stream=stdout`)).toBe(`try ${attempt}\n`);
    const { body } = await house.client.get<{ files: { path: string; href: string }[] }>(links.files!);
    expect(body.files.map((file) => file.path)).toEqual(['out']);
    expect(await house.client.text(body.files[0]!.href)).toBe(`${attempt}\n`);
  }
});
