import { randomUUID } from 'node:crypto';
import {
  CLAIMS_QUEUE,
  CONTROL_EXCHANGE,
  controlKey,
  DEAD_QUEUE,
  EVENTS_EXCHANGE,
  HEARTBEATS_QUEUE,
  LIVE_QUEUE,
  REPORTS_QUEUE,
  ticketsQueue,
  type QueueDeclaration,
} from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import type { ClaimedJob, Finished } from '#shared/messages/messages.js';
import { startHouse, type House } from '../support/house.js';
import { eventually } from '../support/signals.js';
import { BROKERS } from '../support/test-broker.js';

/** Messages that should not be, on a whole Labhand; what the channel itself does with them is in test/conformance. */

const VERSION = { 'labhand-version': 1 };
const BAD: readonly [what: string, type: string, content: string, headers: Record<string, number>][] = [
  ['no JSON', 'heartbeat', '{"workerId":', VERSION],
  ['of an unknown type', 'heartbeep', '{}', VERSION],
  [
    'of another version',
    'heartbeat',
    '{"workerId":"w","draining":false,"attempts":[]}',
    { 'labhand-version': 2 },
  ],
  ['of another shape', 'heartbeat', '{"workerId":7}', VERSION],
];
const TIMEOUT = { timeoutMs: 10_000 };

describe.each(Object.keys(BROKERS))('over %s', (name) => {
  let house: House;
  let broker: Broker;
  let channel: ChannelClient;

  beforeAll(async () => {
    house = await startHouse({ broker: name, worker: false });
    broker = house.gateway.app.get<Broker>(BROKER);
    channel = house.gateway.app.get(ChannelClient);
  });
  afterAll(() => house.end());

  describe('late, doubled and disordered messages of a worker', () => {
    const workerId = 'by-hand';
    const claim = async (claimId: string = randomUUID()) =>
      (await channel.ask('claim', { claimId, workerId, queue: 'default' }, TIMEOUT)).job;
    const finish = async (job: ClaimedJob, change: Partial<Finished['outcome']> = {}) =>
      (await channel.ask('finished', report(job, change), TIMEOUT)).status;
    const read = async (id: string) => (await house.client.get(`/v1/jobs/${id}`)).body;

    beforeAll(() =>
      channel.ask(
        'register',
        {
          workerId,
          host: 'here',
          version: '1',
          startedAt: new Date().toISOString(),
          queues: { default: { slots: 1 } },
          capabilities: {},
        },
        TIMEOUT,
      ),
    );
    const submit = async () => (await house.client.post('/v1/jobs', { command: ['true'] })).body.id;

    it('a claim asked twice is one claim, also when it comes after the end', async () => {
      const id = await submit();
      const claimId = randomUUID();
      const [first, second] = await Promise.all([claim(claimId), claim(claimId)]);
      expect([first!.jobId, second!.jobId]).toEqual([id, id]);
      expect(second!.attempt).toBe(1);
      expect(await finish(first!)).toBe('recorded');
      expect(await claim(claimId)).toBeNull();
      expect(await read(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
    });

    it('a report brings the next job, and the same one when it comes twice', async () => {
      const ids = [await submit(), await submit()];
      const job = (await claim())!;
      const next = { claimId: randomUUID(), queue: 'default' };
      const ask = () => channel.ask('finished', { ...report(job, {}), next }, TIMEOUT);
      const [first, second] = await Promise.all([ask(), ask()]);
      expect([job.jobId, first.job!.jobId]).toEqual(ids);
      expect(second).toMatchObject({ status: 'recorded', job: { jobId: ids[1], attempt: 1 } });
      expect(await finish(first.job!)).toBe('recorded');
      expect(await ask()).toEqual({ status: 'recorded', job: null });
    });

    it('a report that is refused brings the next job all the same', async () => {
      const id = await submit();
      const stale = { ...(await claim())!, attempt: 7 };
      const other = await submit();
      const next = { claimId: randomUUID(), queue: 'default' };
      const answer = await channel.ask('finished', { ...report(stale, {}), next }, TIMEOUT);
      expect(answer).toMatchObject({ status: 'refused', job: { jobId: other } });
      await finish(answer.job!);
      await finish({ ...stale, attempt: 1 });
      expect(await read(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
    });

    it('a report that comes twice is recorded once, and another one after it changes nothing', async () => {
      const id = await submit();
      const job = (await claim())!;
      expect(await Promise.all([finish(job), finish(job)])).toEqual(['recorded', 'recorded']);
      const before = await read(id);
      await finish(job, { state: 'failed', reason: 'exit_code', exitCode: 1 });
      await channel.ask('lost', { jobId: id, attempt: 1, workerId, cause: 'worker_died' }, TIMEOUT);
      expect(await read(id)).toEqual(before);
    });

    it('what is said of an attempt that is over is not taken, and its worker is told', async () => {
      const id = await submit();
      const job = (await claim())!;
      await finish(job);
      const before = await read(id);
      const orders: string[] = [];
      const ears = await broker.consume(
        { exchange: CONTROL_EXCHANGE.name, keys: [controlKey(workerId)] },
        { consumers: 1, prefetch: 1 },
        async ({ message }) => (orders.push(`${message.type} ${String(message.content)}`), 'ack'),
      );
      const ref = { jobId: id, attempt: 1 };
      await channel.tell('progress', { ...ref, percent: 50 });
      await channel.tell('logs', { ...ref, stream: 'stdout', offset: 0, data: 'bGF0ZQ==' });
      await channel.tell('heartbeat', { workerId, draining: false, attempts: [ref] });
      await eventually(() => orders.join(), `abandon ${JSON.stringify(ref)}`);
      await ears.stop();
      expect(await read(id)).toEqual(before);
      expect(await house.client.text(`/v1/jobs/${id}/logs?stream=stdout`)).toBe('');
    });

    it('a report with words that Postgres cannot keep is recorded without them', async () => {
      const id = await submit();
      const job = (await claim())!;
      await channel.tell('progress', { jobId: id, attempt: 1, percent: 50, message: 'half\0 a pair \ud83d' });
      await eventually(async () => (await read(id)).progress?.message, 'half\ufffd a pair \ufffd');
      expect(await finish(job, { message: 'cut in the middle of \ud83d' })).toBe('recorded');
      expect(await read(id)).toMatchObject({ state: 'succeeded', message: 'cut in the middle of \ufffd' });
    });

    it('a report of an attempt that never was is refused', async () => {
      const id = await submit();
      const job = (await claim())!;
      expect(await finish({ ...job, attempt: 2 })).toBe('refused');
      expect(await finish({ ...job, jobId: randomUUID() })).toBe('refused');
      expect(await read(id)).toMatchObject({ state: 'running', attempt: 1 });
      expect(await finish(job)).toBe('recorded');
    });

    it('a report of an attempt that was given to another one is refused', async () => {
      const id = await submit();
      const first = (await claim())!;
      const lost = { jobId: id, attempt: 1, workerId, cause: 'drain' } as const;
      expect(await channel.ask('lost', lost, TIMEOUT)).toEqual({ status: 'recorded' });
      const second = (await claim())!;
      expect(second).toMatchObject({ jobId: id, attempt: 2 });
      expect(await finish(first)).toBe('refused');
      expect(await finish(second)).toBe('recorded');
      expect(await read(id)).toMatchObject({ state: 'succeeded', attempt: 2 });
    });
  });

  it('messages that nobody understands stop nobody, wherever they lie', async () => {
    const worker = await house.startWorker();
    const dead = () => broker.depth(DEAD_QUEUE);
    expect(await dead()).toBe(0);
    const toQueue = (queue: QueueDeclaration) => ({ exchange: '', key: queue.name, declare: queue });
    const places = [
      ...[CLAIMS_QUEUE, REPORTS_QUEUE, HEARTBEATS_QUEUE, LIVE_QUEUE, ticketsQueue('default')].map(toQueue),
      { exchange: CONTROL_EXCHANGE.name, key: controlKey(worker.id) },
      { exchange: EVENTS_EXCHANGE.name, key: 'default.succeeded' },
    ];
    // A gateway hears events while somebody waits for one, and a while longer.
    await house.run({ command: ['true'] });
    const unheard = { type: 'event', content: Buffer.from('{}'), headers: VERSION };
    const hears = () =>
      broker.publish({ ...places.at(-1)!, confirmed: true, persistent: false }, unheard).then(
        () => true,
        () => false,
      );
    await eventually(hears, true);
    for (const place of places) {
      for (const [, type, content, headers] of BAD) {
        const message = { type, content: Buffer.from(content), headers };
        await broker.publish({ ...place, confirmed: true, persistent: false }, message);
      }
    }
    // Reports and tickets that cannot be read are kept for operators; the rest says nothing any more.
    await eventually(dead, 2 * BAD.length);
    const job = await house.run({ command: ['echo', 'as ever'] });
    expect(job).toMatchObject({ state: 'succeeded' });
    expect(job.logs!.stdout.tail).toBe('as ever\n');
    const running = (await house.client.post('/v1/jobs', { command: ['sleep', '60'] })).body;
    await eventually(async () => (await house.client.get(`/v1/jobs/${running.id}`)).body.state, 'running');
    await house.client.post(`/v1/jobs/${running.id}/cancel`);
    const { body } = await house.client.get(`/v1/jobs/${running.id}?wait=30`);
    expect(body.state).toBe('canceled');
  });
});

function report({ jobId, attempt }: ClaimedJob, change: Partial<Finished['outcome']>): Finished {
  const now = new Date().toISOString();
  const empty = { bytes: 0, cut: false, tail: '', whole: true };
  return {
    jobId,
    attempt,
    workerId: 'by-hand',
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
