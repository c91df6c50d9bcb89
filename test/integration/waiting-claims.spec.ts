import { randomUUID } from 'node:crypto';
import { Client as PgClient } from 'pg';
import { CONTROL_EXCHANGE, controlKey, ticketsQueue } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { decodeMessage } from '#shared/channel/envelope.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';
import type { Claim, ClaimedJob, FinishedReply, Given } from '#shared/messages/messages.js';
import { BROKERS } from '../support/test-broker.js';
import { startHouse, type House } from '../support/house.js';
import { eventually, Inbox } from '../support/signals.js';

const SOON = { timeoutMs: 10_000 };

describe.each(Object.keys(BROKERS))('a claim that waits at a gateway, over %s', (name) => {
  let house: House;
  let broker: Broker;
  let channel: ChannelClient;
  let workerId: string;
  let given: Inbox<Given>;

  beforeEach(async () => {
    // No reconciliation comes to help.
    house = await startHouse({
      broker: name,
      worker: false,
      gateway: { reconcile: 600, queues: { default: { policy: 'any', onOutputLimit: 'cut' } } },
    });
    broker = house.gateway.app.get<Broker>(BROKER);
    channel = new ChannelClient(broker);
    workerId = randomUUID();
    given = new Inbox();
    await broker.consume(
      { exchange: CONTROL_EXCHANGE.name, keys: [controlKey(workerId)] },
      { consumers: 1, prefetch: 10 },
      async ({ message }) => {
        given.put(decodeMessage(message) as Given);
        return 'ack';
      },
    );
    await channel.ask(
      'register',
      {
        workerId,
        host: 'host',
        version: '1',
        startedAt: new Date().toISOString(),
        queues: { default: { slots: 2 } },
        capabilities: {},
      },
      SOON,
    );
  });
  afterEach(() => house.end());

  const depth = () => broker.depth(ticketsQueue('default'));
  const submit = async (job: Partial<JobSpecInput> = {}) =>
    (await house.client.post('/v1/jobs', { command: ['true'], ...job })).body;
  const stateOf = async (id: string) =>
    (await house.client.get<{ state: string }>(`/v1/jobs/${id}`)).body.state;
  const ask = async (claim: Claim) => (await channel.ask('claim', claim, SOON)).job;

  /** Reports the end of a job as a worker does. @returns the claim that goes with it, and the answer */
  async function finish(
    { jobId, attempt }: ClaimedJob,
    claimId: string = randomUUID(),
  ): Promise<[Claim, FinishedReply]> {
    const next = { claimId, queue: 'default', mayWait: true };
    const empty = { bytes: 0, cut: false, tail: '', whole: true };
    const now = new Date().toISOString();
    const outcome = {
      state: 'succeeded' as const,
      exitCode: 0,
      startedAt: now,
      finishedAt: now,
      usage: { wallSeconds: 0 },
      stdout: empty,
      stderr: empty,
      outputs: null,
    };
    const reply = await channel.ask('finished', { jobId, attempt, workerId, outcome, next }, SOON);
    return [{ claimId, queue: 'default', workerId }, reply];
  }

  /** Runs a job so that a claim waits after it. */
  async function waitingClaim(): Promise<Claim> {
    await submit();
    await broker
      .consume({ queue: ticketsQueue('default') }, { consumers: 1, prefetch: 1 }, async () => 'ack')
      .then(async (consumption) => {
        await eventually(depth, 0);
        await consumption.stop();
      });
    const job = await ask({ claimId: randomUUID(), queue: 'default', workerId });
    const [claim, reply] = await finish(job!);
    expect(reply).toEqual({ status: 'recorded', waits: expect.any(Number) });
    return claim;
  }

  /** Again and again, for a claim waits for so short a time only that a busy machine may miss it. */
  async function untilGiven(attempt: (claim: Claim) => Promise<string>): Promise<[Claim, Given]> {
    for (;;) {
      const claim = await waitingClaim();
      const id = await attempt(claim);
      if ((await stateOf(id)) === 'running') return [claim, await given.next()];
      await house.client.post(`/v1/jobs/${id}/cancel`);
    }
  }

  it('is given what is submitted there, without a ticket', async () => {
    const [claim, { claimId, job }] = await untilGiven(async () => (await submit()).id);
    expect(claimId).toBe(claim.claimId);
    expect(job).toMatchObject({ attempt: 1, command: ['true'] });
    expect(await depth()).toBe(0);
    const [, reply] = await finish(job);
    expect(reply.status).toBe('recorded');
  });

  it('gives its worker the same job when that asks by itself', async () => {
    const [claim, { job }] = await untilGiven(async () => (await submit()).id);
    expect(await ask(claim)).toEqual({ ...job, filesToken: expect.any(String) });
  });

  it('waits on when what is submitted cannot be claimed yet', async () => {
    const [, { job }] = await untilGiven(async () => {
      await submit({ hold: true });
      await submit({ delay: 600 });
      return (await submit({ name: 'now' })).id;
    });
    expect((await house.client.get<{ name: string }>(`/v1/jobs/${job.jobId}`)).body.name).toBe('now');
  });

  it('leaves to a ticket what its worker may not take', async () => {
    await waitingClaim();
    const { id } = await submit({ isolation: 'namespaces' });
    await eventually(depth, 1);
    expect(await stateOf(id)).toBe('queued');
    expect(given.all).toEqual([]);
  });

  it('leaves jobs to tickets when it cannot be answered', async () => {
    const database = new PgClient(house.databaseUrl);
    await database.connect();
    await waitingClaim();
    await database.query('ALTER FUNCTION claim_jobs RENAME TO claim_jobs_away');
    const { id } = await submit();
    await eventually(depth, 1);
    await database.query('ALTER FUNCTION claim_jobs_away RENAME TO claim_jobs');
    await database.end();
    const job = await ask({ claimId: randomUUID(), queue: 'default', workerId });
    expect(job?.jobId).toBe(id);
  });
});
