import { randomUUID } from 'node:crypto';
import { Controller, UseFilters } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { firstValueFrom } from 'rxjs';
import {
  CLAIMS_QUEUE,
  CONTROL_EXCHANGE,
  controlKey,
  DEAD_QUEUE,
  HEARTBEATS_QUEUE,
  LIVE_QUEUE,
  REPORTS_QUEUE,
  ticketsQueue,
} from '#shared/amqp/topology.js';
import { RequestTimeoutError, type Broker } from '#shared/channel/broker.js';
import { ChannelClient, RemoteError } from '#shared/channel/channel-client.js';
import { ChannelContext } from '#shared/channel/channel-context.js';
import { ChannelErrorFilter } from '#shared/channel/channel-error.filter.js';
import { ChannelServer, type ChannelServerOptions } from '#shared/channel/channel-server.js';
import type { AttemptRef, Claim, Heartbeat, Lost, MessageBody } from '#shared/messages/messages.js';
import { eventually, gate, Inbox, type Gate } from '../support/signals.js';
import { BROKERS, KeptLog, type TestBroker } from '../support/test-broker.js';

const WORKER = 'worker.one';
const TICKETS = ticketsQueue('default');

@Controller()
@UseFilters(ChannelErrorFilter)
class Handlers {
  readonly heard = new Inbox<string>();
  readonly contexts: ChannelContext[] = [];
  hold: Gate | undefined;

  @MessagePattern('claim')
  claim({ queue }: Claim): unknown {
    this.heard.put(`claim ${queue}`);
    if (queue === 'broken') throw Object.assign(new Error('no such queue here'), { code: 'unknown_queue' });
    if (queue === 'odd') return { something: 'else' };
    return { job: null };
  }

  @MessagePattern('lost')
  async lost({ cause }: Lost): Promise<unknown> {
    this.heard.put(`lost ${cause}`);
    await this.hold?.opened;
    return { status: 'recorded' };
  }

  @EventPattern<string>('heartbeat')
  heartbeat(@Payload() { draining }: Heartbeat, @Ctx() context: ChannelContext): void {
    this.contexts.push(context);
    this.heard.put(`heartbeat ${draining}`);
  }

  @EventPattern<string>('ticket')
  async ticket(@Payload() { queue }: MessageBody<'ticket'>, @Ctx() context: ChannelContext): Promise<void> {
    this.heard.put(`ticket ${queue}${context.redelivered ? ' again' : ''}`);
    if (queue === 'bad') throw new Error('cannot be done');
    if (queue === 'again' && !context.redelivered)
      throw Object.assign(new Error('not now'), { requeue: true });
    if (queue === 'long') {
      await context.release();
      await this.hold?.opened;
    }
  }

  @EventPattern<string>('cancel')
  cancel({ attempt }: AttemptRef): void {
    this.heard.put(`cancel ${attempt}`);
  }
}

describe.each(Object.entries(BROKERS))('the channel between gateway and worker: %s', (_name, make) => {
  let test: TestBroker;
  let broker: Broker;
  let client: ChannelClient;
  let handlers: Handlers;
  let server: ChannelServer;
  let log: KeptLog;
  let close: () => Promise<void>;

  async function start(options: ChannelServerOptions = {}): Promise<void> {
    const queue = (name: string, declaration: typeof TICKETS) => ({
      name,
      source: { queue: declaration },
      consumers: 1,
      prefetch: 1,
    });
    server = new ChannelServer(
      broker,
      [
        queue('claims', CLAIMS_QUEUE),
        queue('reports', REPORTS_QUEUE),
        queue('heartbeats', HEARTBEATS_QUEUE),
        queue('live', LIVE_QUEUE),
        queue('tickets', TICKETS),
        {
          name: 'control',
          source: { exchange: CONTROL_EXCHANGE.name, keys: [controlKey(WORKER)] },
          consumers: 1,
          prefetch: 10,
        },
      ],
      options,
    );
    const module = await Test.createTestingModule({ controllers: [Handlers] })
      .setLogger(log)
      .compile();
    const app = module.createNestMicroservice({ strategy: server, logger: log });
    handlers = app.get(Handlers);
    await app.listen();
    close = () => app.close();
  }

  beforeEach(async () => {
    log = new KeptLog();
    test = await make();
    broker = test.broker;
    client = new ChannelClient(broker);
    await start();
  });
  afterEach(async () => {
    handlers.hold?.open();
    await close();
    await test.end();
  });

  const claim = (queue: string): Claim => ({ claimId: randomUUID(), workerId: WORKER, queue });
  const ticket = (queue: string) => {
    // All of them lie in the one queue that the server listens to.
    const { content, headers } = { content: JSON.stringify({ queue }), headers: { 'labhand-version': 1 } };
    return send('ticket', content, headers);
  };
  const send = (type: string, content: string, headers: Record<string, string | number>) =>
    broker.publish(
      { exchange: '', key: TICKETS.name, confirmed: true, persistent: true },
      { type, content: Buffer.from(content), headers },
    );
  const warnings = () => log.lines.filter((line) => line.startsWith('warn'));

  it('answers a request by the handler of its type', async () => {
    expect(await client.ask('claim', claim('default'), { timeoutMs: 10_000 })).toEqual({ job: null });
  });

  it('answers a request whose handler throws with what it said, and takes the next one', async () => {
    const asked = client.ask('claim', claim('broken'), { timeoutMs: 10_000 });
    await expect(asked).rejects.toThrow(new RemoteError('no such queue here'));
    await expect(asked).rejects.toMatchObject({ code: 'unknown_queue' });
    expect(await client.ask('claim', claim('default'), { timeoutMs: 10_000 })).toEqual({ job: null });
  });

  it('refuses an answer of another shape', async () => {
    await expect(client.ask('claim', claim('odd'), { timeoutMs: 10_000 })).rejects.toThrow('another shape');
  });

  it('sends requests of one moment together, each with its own answer', async () => {
    const sent = jest.spyOn(broker, 'request');
    const asked = ['default', 'broken', 'odd', 'default'].map((queue) =>
      client.ask('claim', claim(queue), { timeoutMs: 10_000 }),
    );
    const misshapen = client.ask('claim', { ...claim('default'), claimId: 'none' }, { timeoutMs: 10_000 });
    const answers = await Promise.allSettled([...asked, misshapen]);
    expect(answers).toMatchObject([
      { value: { job: null } },
      { reason: { message: 'no such queue here', code: 'unknown_queue' } },
      { reason: { message: expect.stringContaining('another shape') } },
      { value: { job: null } },
      { reason: { message: expect.stringContaining('another shape') } },
    ]);
    expect(sent).toHaveBeenCalledTimes(1);
  });

  it('sends what is asked while an answer is under way together, and waits for it no longer than a moment', async () => {
    const sent = jest.spyOn(broker, 'request').mockReturnValueOnce(new Promise(() => undefined));
    void client.ask('claim', claim('default'), { timeoutMs: 10_000 });
    await eventually(() => sent.mock.calls.length, 1);
    const asked = [1, 2, 3].map(() => client.ask('claim', claim('default'), { timeoutMs: 10_000 }));
    expect(await Promise.all(asked)).toEqual([{ job: null }, { job: null }, { job: null }]);
    expect(sent).toHaveBeenCalledTimes(2);
  });

  it('dead-letters a bundle that is none and answers for all of it', async () => {
    for (const content of ['{}', '[]', 'x']) {
      const message = {
        type: 'claim',
        content: Buffer.from(content),
        headers: { 'labhand-version': 1, 'labhand-bundle': 2 },
      };
      const route = { exchange: '', key: REPORTS_QUEUE.name, confirmed: false, persistent: false };
      const answer = await broker.request(route, message, 10_000);
      expect(JSON.parse(answer.toString())).toMatchObject({ code: 'refused_message' });
    }
    await eventually(() => broker.depth(DEAD_QUEUE), 3);
  });

  it('gives up an unanswered request in time', async () => {
    await server.stopConsuming('claims');
    await expect(client.ask('claim', claim('default'), { timeoutMs: 50 })).rejects.toThrow(
      RequestTimeoutError,
    );
  });

  it('hands an event to its handler with the trace context of its sender', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await client.tell('heartbeat', { workerId: WORKER, draining: true, attempts: [] }, undefined, {
      traceparent,
    });
    expect(await handlers.heard.next()).toBe('heartbeat true');
    expect(handlers.contexts[0]).toMatchObject({ type: 'heartbeat', redelivered: false, traceparent });
  });

  it('brings a control message to the worker that it is for, and to no other', async () => {
    const attempt = { jobId: randomUUID(), attempt: 1 };
    await client.tell('cancel', attempt, 'worker.two');
    await client.tell('cancel', { ...attempt, attempt: 2 }, WORKER);
    expect(await handlers.heard.next()).toBe('cancel 2');
  });

  it("works by the ways of Nest's own client too", async () => {
    expect(await firstValueFrom(client.send('claim', claim('default')))).toEqual({ job: null });
    await expect(firstValueFrom(client.send('claim', claim('broken')))).rejects.toThrow('no such queue here');
    await firstValueFrom(client.emit('heartbeat', { workerId: WORKER, draining: false, attempts: [] }), {
      defaultValue: undefined,
    });
    expect(await handlers.heard.take(3)).toContain('heartbeat false');
  });

  it('dead-letters an event whose handler throws, says so, and goes on', async () => {
    await ticket('bad');
    await ticket('good');
    expect(await handlers.heard.take(2)).toEqual(['ticket bad', 'ticket good']);
    await eventually(() => broker.depth(DEAD_QUEUE), 1);
    expect(log.lines.join()).toContain('cannot be done');
  });

  it('requeues an event whose handler asks for that', async () => {
    await ticket('again');
    expect(await handlers.heard.take(2)).toEqual(['ticket again', 'ticket again again']);
    expect(await broker.depth(DEAD_QUEUE)).toBe(0);
  });

  it.each([
    ['is no JSON', 'ticket', '{"queue":', { 'labhand-version': 1 }, 'its body is not JSON'],
    ['is empty', 'ticket', '', { 'labhand-version': 1 }, 'its body is not JSON'],
    ['has another shape', 'ticket', '{"queue":7}', { 'labhand-version': 1 }, 'another shape: queue'],
    ['is of a type that nobody knows', 'tickle', '{}', { 'labhand-version': 1 }, 'no message of this type'],
    ['has the name of a built-in', 'constructor', '{}', { 'labhand-version': 1 }, 'no message of this type'],
    ['has no type', '', '{}', { 'labhand-version': 1 }, 'no message of this type'],
    ['has no handler here', 'register', registration(), { 'labhand-version': 1 }, 'nothing here handles'],
    ['is of another version', 'ticket', '{"queue":"a"}', { 'labhand-version': 2 }, 'protocol version is 2'],
    ['says no version', 'ticket', '{"queue":"a"}', {}, 'protocol version is not given'],
  ])('dead-letters a message that %s, and goes on', async (_what, type, content, headers, why) => {
    await send(type, content, headers);
    await ticket('good');
    expect(await handlers.heard.next()).toBe('ticket good');
    await eventually(() => broker.depth(DEAD_QUEUE), 1);
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toContain('tickets');
    expect(warnings()[0]).toContain(why);
  });

  it('says nothing of the body of a message that it refuses', async () => {
    await send('ticket', '{"queue":"Sesame, open!"}', { 'labhand-version': 1 });
    await eventually(() => broker.depth(DEAD_QUEUE), 1);
    expect(warnings().join()).not.toContain('Sesame');
  });

  it('tells an asker why its request was refused, and does not let it wait', async () => {
    const route = { exchange: '', key: CLAIMS_QUEUE.name, confirmed: false, persistent: false };
    const message = { type: 'claim', content: Buffer.from('{}'), headers: { 'labhand-version': 9 } };
    const answer = JSON.parse(String(await broker.request(route, message, 10_000)));
    expect(answer).toMatchObject({
      code: 'refused_message',
      error: expect.stringContaining('protocol version is 9'),
    });
  });

  it('takes no other message while a handler has released its own', async () => {
    handlers.hold = gate();
    await ticket('long');
    await ticket('next');
    await eventually(() => broker.depth(TICKETS), 1);
    expect(handlers.heard.all).toEqual(['ticket long']);
    handlers.hold.open();
    expect(await handlers.heard.take(2)).toEqual(['ticket long', 'ticket next']);
  });

  it('stops one subscription while the others go on, and is idle when its handlers are done', async () => {
    handlers.hold = gate();
    await ticket('long');
    await handlers.heard.next();
    await server.stopConsuming('tickets');
    await ticket('later');
    expect(await client.ask('claim', claim('default'), { timeoutMs: 10_000 })).toEqual({ job: null });
    const idle = server.idle('tickets');
    handlers.hold.open();
    await idle;
    expect(await broker.depth(TICKETS)).toBe(1);
  });

  it('waits for the handlers before it is closed, and their answers arrive', async () => {
    handlers.hold = gate();
    const body: Lost = { jobId: randomUUID(), attempt: 1, workerId: WORKER, cause: 'drain' };
    const answered = client.ask('lost', body, { timeoutMs: 10_000 });
    expect(await handlers.heard.next()).toBe('lost drain');
    const closed = close();
    handlers.hold.open();
    await closed;
    expect(await answered).toEqual({ status: 'recorded' });
  });

  it('does not wait longer than its drain time for a handler that never ends', async () => {
    await close();
    await start({ drainMs: 20 });
    handlers.hold = gate();
    await ticket('long');
    await handlers.heard.next();
    await close();
    expect(warnings().join()).toContain('still busy');
  });
});

function registration(): string {
  const startedAt = new Date(0).toISOString();
  return JSON.stringify({
    workerId: WORKER,
    host: 'h',
    version: '1',
    startedAt,
    queues: {},
    capabilities: {},
  });
}
