import { randomUUID } from 'node:crypto';
import { CONTROL_EXCHANGE, controlKey } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import type { JobView } from '#gateway/jobs/job-view.js';
import { Database } from '#gateway/database/database.js';
import type { Worker } from '#worker/worker.js';
import type { ClaimedJob } from '#shared/messages/messages.js';
import type { ProblemBody } from '../support/client.js';
import { startHouse, type House } from '../support/house.js';
import { eventually } from '../support/signals.js';

const TIMEOUT = { timeoutMs: 10_000 };

let house: House;
const view = async (id: string) => (await house.client.get(`/v1/jobs/${id}`)).body;
const isIn = (id: string, state: string) => eventually(async () => (await view(id)).state, state);
const verb = <T = JobView & { cancel: string }>(id: string, name: string, body?: unknown) =>
  house.client.post<T>(`/v1/jobs/${id}/${name}`, body);
const submit = async (job: object = {}) =>
  (await house.client.post('/v1/jobs', { command: ['sleep', '600'], ...job })).body.id;
const sh = (script: string) => ({ command: ['sh', '-c', script] });
const eventsOf = async (id: string) =>
  (
    await house.gateway.app
      .get(Database)
      .query<{ state: string }>('SELECT state FROM events WHERE job_id = $1 ORDER BY id', [id])
  ).map(({ state }) => state);

afterEach(() => house.end());

describe('a job on a worker', () => {
  let worker: Worker;

  beforeEach(async () => {
    house = await startHouse({ worker: false });
    worker = await house.startWorker({ queues: { default: 4 } });
  });

  const printed = (id: string, text: string) =>
    eventually(
      async () => (await house.client.text(`/v1/jobs/${id}/logs?stream=stdout`)).includes(text),
      true,
    );

  it('stands still while it is paused, time that does not count, and goes on when resumed', async () => {
    const id = await submit({ ...sh('echo begun; sleep 0.4; echo done'), limits: { wallTime: 2 } });
    await printed(id, 'begun');
    expect((await verb(id, 'pause')).status).toBe(200);
    await isIn(id, 'paused');
    expect((await view(id)).pauseRequested).toBe(true);
    // Longer than its wall time.
    const database = house.gateway.app.get(Database);
    await database.query('SELECT pg_sleep(2.5)');
    expect((await verb(id, 'pause')).body.state).toBe('paused');
    await verb(id, 'resume');
    await isIn(id, 'succeeded');
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'paused', 'running', 'succeeded']);
  });

  it('that is paused ends when it is canceled', async () => {
    const id = await submit();
    await isIn(id, 'running');
    await verb(id, 'pause');
    await isIn(id, 'paused');
    expect((await verb(id, 'cancel')).body).toMatchObject({ cancel: 'requested', state: 'paused' });
    await isIn(id, 'canceled');
    expect((await verb(id, 'cancel')).body.cancel).toBe('already_canceled');
  });

  it('is told by cancel what becomes of it', async () => {
    const [held, running, over] = [await submit({ hold: true }), await submit(), await submit(sh('true'))];
    await isIn(running, 'running');
    await isIn(over, 'succeeded');
    expect((await verb(held, 'cancel')).body).toMatchObject({ cancel: 'canceled', state: 'canceled' });
    expect((await verb(running, 'cancel')).body.cancel).toBe('requested');
    await isIn(running, 'canceled');
    const late = await verb<ProblemBody>(over, 'cancel');
    expect([late.status, late.body.detail]).toEqual([
      409,
      expect.stringContaining('already ended, it is succeeded'),
    ]);
  });

  it.each([
    ['main', 'main'],
    ['group', 'group child'],
  ])('gets a signal, to its %s', async (target, trapped) => {
    const child = `(trap "echo child > child; exit" USR1; echo ready; while :; do sleep 0.05; done) & `;
    const script = `${child} trap "echo ${target} > main; sleep 0.3; exit 0" USR1; echo ready; while :; do wait; done`;
    const id = await submit({ ...sh(script), outputs: ['main', 'child'] });
    await printed(id, 'ready\nready');
    expect((await verb(id, 'signal', { signal: 'usr1', target })).status).toBe(200);
    await isIn(id, 'succeeded');
    const files = await house.client.get<{ files: { path: string }[] }>(`/v1/jobs/${id}/files`);
    expect(files.body.files.map(({ path }) => path).sort()).toEqual(
      trapped === 'main' ? ['main'] : ['child', 'main'],
    );
  });

  it('that is killed by a signal has failed by it', async () => {
    const id = await submit();
    await isIn(id, 'running');
    await eventually(async () => (await verb(id, 'signal', { signal: 'SIGKILL' })).status, 200);
    await isIn(id, 'failed');
    expect(await view(id)).toMatchObject({ reason: 'signal', signal: 'SIGKILL' });
  });

  it('is run again as another job, with its files, when it is over', async () => {
    const { body } = await house.client.upload(
      { ...sh('cat a.txt b.txt'), inputs: [{ path: 'b.txt', content: 'inline' }], labels: { a: 'b' } },
      [['file', 'a.txt', 'uploaded ']],
    );
    await isIn(body.id, 'succeeded');
    const again = await house.client.post(`/v1/jobs/${body.id}/rerun`, undefined, { 'idempotency-key': 'k' });
    expect([again.status, again.headers.get('location')]).toEqual([202, again.body.links.self]);
    expect(again.body).toMatchObject({ rerunOf: body.id, labels: { a: 'b' }, state: 'queued' });
    await isIn(again.body.id, 'succeeded');
    expect(await house.client.text(`/v1/jobs/${again.body.id}/logs?stream=stdout`)).toBe('uploaded inline');
    const repeated = await house.client.post(`/v1/jobs/${body.id}/rerun`, undefined, {
      'idempotency-key': 'k',
    });
    expect(repeated.body.id).toBe(again.body.id);
    const early = await verb<ProblemBody>(await submit({ hold: true }), 'rerun');
    expect([early.status, early.body.code]).toEqual([409, 'state_conflict']);
  });

  it('is drained away from its worker by an operator, and handed back when the time is over', async () => {
    const id = await submit();
    await isIn(id, 'running');
    const drained = await house.client.post<{ draining: boolean }>(`/v1/workers/${worker.id}/drain`, {
      timeout: 0.2,
    });
    expect(drained.body.draining).toBe(true);
    await worker.retired;
    await worker.leave();
    const job = await view(id);
    expect(job).toMatchObject({ state: 'queued', attempts: [{ ending: 'handed_back' }] });
    await verb(id, 'cancel');
    const unknown = await house.client.post<ProblemBody>('/v1/workers/nobody/drain');
    expect(unknown.body.detail).toContain('There is no worker "nobody"');
  });
});

describe('verbs', () => {
  beforeEach(async () => {
    house = await startHouse({ worker: false, gateway: { lease: 60, heartbeat: 1 } });
  });

  it.each([
    ['pause', undefined, 'The job is held; pause is not possible in this state: "hold" keeps'],
    ['resume', undefined, '"release" lets a held job be started'],
    ['signal', { signal: 'TERM' }, 'The job is held; signal is not possible in this state'],
  ])('%s is refused with the reason where the state forbids it', async (name, body, reason) => {
    await register();
    const id = await submit({ hold: true });
    const waiting = await verb<ProblemBody>(id, name, body);
    expect([waiting.status, waiting.body.detail]).toEqual([409, expect.stringContaining(reason)]);
    await verb(id, 'cancel');
    const over = await verb<ProblemBody>(id, name, body);
    expect([over.status, over.body.detail]).toEqual([409, expect.stringContaining('it is canceled')]);
  });

  it.each([
    ['SIGUSR3', 'did you mean "SIGUSR1"'],
    ['STOP', 'a job is stopped by "pause"'],
    ['cont', 'a job goes on by "resume"'],
  ])('signal %s is refused with a hint', async (signal, hint) => {
    await register();
    const answer = await verb<ProblemBody>(await submit({ hold: true }), 'signal', { signal });
    expect([answer.status, answer.body.errors![0]!.message]).toEqual([422, expect.stringContaining(hint)]);
  });

  describe('of which every message is lost', () => {
    let job: ClaimedJob;
    let orders: string[];
    const workerId = 'deaf';
    const channel = () => house.gateway.app.get(ChannelClient);
    const beat = async (paused: boolean, expected: string) => {
      orders.length = 0;
      const { jobId, attempt } = job;
      await channel().tell('heartbeat', {
        workerId,
        draining: false,
        attempts: [{ jobId, attempt, paused }],
      });
      if (expected) await eventually(() => orders.sort().join(), expected);
    };

    beforeEach(async () => {
      await register(workerId);
      const id = await submit();
      const answer = await channel().ask(
        'claim',
        { claimId: randomUUID(), workerId, queue: 'default' },
        TIMEOUT,
      );
      job = answer.job!;
      expect(job.jobId).toBe(id);
      orders = [];
      await house.gateway.app
        .get<Broker>(BROKER)
        .consume(
          { exchange: CONTROL_EXCHANGE.name, keys: [controlKey(workerId)] },
          { consumers: 1, prefetch: 1 },
          async ({ message }) => (orders.push(message.type), 'ack'),
        );
    });

    it('pause and resume are said again by the answer to a heartbeat, and confirmed by the next one', async () => {
      await verb(job.jobId, 'pause');
      await beat(false, 'pause');
      expect((await view(job.jobId)).state).toBe('running');
      await beat(true, '');
      await isIn(job.jobId, 'paused');
      await verb(job.jobId, 'resume');
      await beat(true, 'resume');
      expect((await view(job.jobId)).state).toBe('paused');
      await beat(false, '');
      await isIn(job.jobId, 'running');
    });

    it('a confirmation that is late, of another attempt or of another worker changes nothing', async () => {
      const { jobId, attempt } = job;
      await verb(jobId, 'pause');
      await channel().tell('paused', { jobId, attempt: attempt + 1, workerId });
      await channel().tell('paused', { jobId, attempt, workerId: 'another' });
      await verb(jobId, 'resume');
      await channel().tell('paused', { jobId, attempt, workerId });
      await verb(jobId, 'pause');
      await channel().tell('paused', { jobId, attempt, workerId });
      await isIn(jobId, 'paused');
      expect(await eventsOf(jobId)).toEqual(['queued', 'running', 'paused']);
    });

    it('a signal that nobody answers is not known to be sent', async () => {
      const answer = await verb<ProblemBody>(job.jobId, 'signal', { signal: 'HUP' });
      expect([answer.status, answer.body.code]).toEqual([503, 'unavailable']);
    });

    it('a job that was given to a worker in the moment of its death is queued when it is back', async () => {
      const state = async () => (await view(job.jobId)).state;
      await register(workerId, [job], '2030-01-01T00:00:00Z');
      expect(await state()).toBe('running');
      await register(workerId, [], '2030-01-01T00:00:00Z');
      expect(await state()).toBe('running');
      await register(workerId, [], '2030-01-01T00:00:01Z');
      expect(await state()).toBe('queued');
    });

    it('a drain is said again until the heartbeat says that it has begun', async () => {
      await house.client.post(`/v1/workers/${workerId}/drain`);
      await beat(false, 'drain');
      orders.length = 0;
      await channel().tell('heartbeat', { workerId, draining: true, attempts: [] });
      await verb(job.jobId, 'pause');
      await beat(false, 'drain,pause');
    });
  });
});

async function register(
  workerId = 'w',
  attempts: { jobId: string; attempt: number }[] = [],
  startedAt = '2026-01-01T00:00:00Z',
): Promise<void> {
  await house.gateway.app.get(ChannelClient).ask(
    'register',
    {
      workerId,
      host: 'here',
      version: '1',
      startedAt,
      attempts,
      queues: { default: { slots: 1 } },
      capabilities: {},
    },
    TIMEOUT,
  );
}
