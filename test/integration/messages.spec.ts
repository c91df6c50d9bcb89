import { randomUUID } from 'node:crypto';
import { Controller, UseFilters } from '@nestjs/common';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { connect, type Channel, type ChannelModel, type Options } from 'amqplib';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import { CLAIMS_QUEUE, DEAD_QUEUE, REPORTS_QUEUE } from '#shared/amqp/topology.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { ChannelErrorFilter } from '#shared/channel/channel-error.filter.js';
import { ChannelServer } from '#shared/channel/channel-server.js';
import type { Claim, Lost } from '#shared/messages/messages.js';
import { testVhost, type TestVhost } from '../support/rabbitmq-vhost.js';
import { eventually, Inbox } from '../support/signals.js';
import { KeptLog } from '../support/test-broker.js';

/** What other programs may lay into our queues by mistake or malice, sent without our own client. */

@Controller()
@UseFilters(ChannelErrorFilter)
class Gateway {
  readonly lost = new Inbox<Lost>();

  @MessagePattern('claim')
  claim(): unknown {
    return { job: null };
  }

  @MessagePattern('lost')
  record(body: Lost): unknown {
    this.lost.put(body);
    return { status: 'recorded' };
  }

  @EventPattern<string>('progress')
  progress(): void {
    throw new Error('this one never works');
  }
}

const VERSION = { 'labhand-version': 1 };
const body = (): Lost => ({ jobId: randomUUID(), attempt: 1, workerId: 'w', cause: 'drain' });
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

let vhost: TestVhost;
let broker: AmqpBroker;
let gateway: Gateway;
let stranger: ChannelModel;
let channel: Channel;
let stop: () => Promise<void>;

beforeEach(async () => {
  vhost = await testVhost();
  const logger = new KeptLog();
  broker = new AmqpBroker({ url: vhost.url, name: 'labhand test', logger });
  const sources = { claims: CLAIMS_QUEUE, reports: REPORTS_QUEUE };
  const strategy = new ChannelServer(
    broker,
    Object.entries(sources).map(([name, queue]) => ({ name, source: { queue }, consumers: 1, prefetch: 1 })),
  );
  const module = await Test.createTestingModule({ controllers: [Gateway] })
    .setLogger(logger)
    .compile();
  const app = module.createNestMicroservice({ strategy, logger });
  await app.listen();
  stop = () => app.close();
  gateway = app.get(Gateway);
  stranger = await connect(vhost.url);
  channel = await stranger.createChannel();
});
afterEach(async () => {
  await stranger.close();
  await stop();
  await broker.close();
  await vhost.remove();
});

async function works(): Promise<void> {
  const client = new ChannelClient(broker);
  const claim: Claim = { claimId: randomUUID(), workerId: 'w', queue: 'default' };
  expect(await client.ask('claim', claim, { timeoutMs: 10_000 })).toEqual({ job: null });
  expect(await client.ask('lost', body(), { timeoutMs: 10_000 })).toEqual({ status: 'recorded' });
}

const garbage: [string, Buffer, Options.Publish][] = [
  ['nothing at all', Buffer.alloc(0), {}],
  ['bytes that are no text', Buffer.from([0xff, 0xfe, 0, 1, 2]), { type: 'lost', headers: VERSION }],
  ['a JSON null', bytes(null), { type: 'lost', headers: VERSION }],
  ['a list', bytes([body()]), { type: 'lost', headers: VERSION }],
  ['an attempt of zero', bytes({ ...body(), attempt: 0 }), { type: 'lost', headers: VERSION }],
  ['JSON a thousand levels deep', Buffer.from('['.repeat(1_000)), { type: 'lost', headers: VERSION }],
  ['a type with a pattern in it', bytes({}), { type: '{"cmd":"claim"}', headers: VERSION }],
  ['a type as long as can be', bytes({}), { type: 'x'.repeat(255), headers: VERSION }],
  ['the type __proto__', bytes({}), { type: '__proto__', headers: VERSION }],
  ['a version that is a table', bytes(body()), { type: 'lost', headers: { 'labhand-version': { of: 1 } } }],
  ['a version that is a text', bytes(body()), { type: 'lost', headers: { 'labhand-version': '1' } }],
  ['a reply address that is none', bytes(7), { type: 'lost', headers: VERSION, replyTo: 'no.such.queue' }],
  [
    'an event that never works',
    bytes({ jobId: randomUUID(), attempt: 1, percent: 1 }),
    { type: 'progress', headers: VERSION },
  ],
];

it.each(garbage)(
  'a queue in which lies %s is worked on, and that goes to labhand.dead',
  async (_what, content, options) => {
    channel.sendToQueue(REPORTS_QUEUE.name, content, options);
    await works();
    await eventually(() => broker.depth(DEAD_QUEUE), 1);
  },
);

it('a request that asks for no answer is handled all the same', async () => {
  channel.sendToQueue(REPORTS_QUEUE.name, bytes(body()), { type: 'lost', headers: VERSION });
  await gateway.lost.next();
  await works();
  expect(await broker.depth(DEAD_QUEUE)).toBe(0);
});

it('a message that comes twice reaches its handler twice, which is the one to know it', async () => {
  const twice = body();
  for (let i = 0; i < 2; i++)
    channel.sendToQueue(REPORTS_QUEUE.name, bytes(twice), { type: 'lost', headers: VERSION });
  expect(await gateway.lost.take(2)).toEqual([twice, twice]);
});

it('fields that a later version may add are dropped before the handler', async () => {
  const known = body();
  const content = bytes({ ...known, later: true });
  channel.sendToQueue(REPORTS_QUEUE.name, content, { type: 'lost', headers: VERSION });
  expect(await gateway.lost.next()).toEqual(known);
});

it("a hundred bad messages stand in nobody's way", async () => {
  for (let i = 0; i < 100; i++) channel.sendToQueue(REPORTS_QUEUE.name, Buffer.from(`bad ${i}`), {});
  await works();
  await eventually(() => broker.depth(DEAD_QUEUE), 100);
});
