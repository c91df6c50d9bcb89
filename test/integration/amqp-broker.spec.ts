import { randomUUID } from 'node:crypto';
import { connect, type Channel } from 'amqplib';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import { BrokerRefusedError } from '#shared/amqp/amqp-connection.js';
import {
  CLAIMS_QUEUE,
  CONTROL_EXCHANGE,
  EVENTS_EXCHANGE,
  REPORTS_QUEUE,
  ticketsQueue,
  type Route,
} from '#shared/amqp/topology.js';
import {
  BrokerUnavailableError,
  type BrokerStatus,
  type Consumption,
  type Delivery,
  type OutgoingMessage,
} from '#shared/channel/broker.js';
import { freePorts, type RabbitMq } from '../support/rabbitmq-access.js';
import { startOwnRabbitMq } from '../support/rabbitmq.js';
import { testVhost, type TestVhost } from '../support/rabbitmq-vhost.js';
import { eventually, gate, Inbox } from '../support/signals.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { KeptLog } from '../support/test-broker.js';

const TICKETS = ticketsQueue('default');
const ONE = { consumers: 1, prefetch: 1 };
const TICKET_ROUTE: Route = {
  exchange: '',
  key: TICKETS.name,
  declare: TICKETS,
  confirmed: true,
  persistent: true,
};
const claimRoute: Route = { exchange: '', key: CLAIMS_QUEUE.name, confirmed: false, persistent: false };
const message = (text: string): OutgoingMessage => ({ type: 'note', content: Buffer.from(text) });
const textOf = ({ message: { content } }: Delivery) => content.toString();

let vhost: TestVhost;
let proxy: TcpProxy;
let proxied: string;
let broker: AmqpBroker;
let log: KeptLog;

beforeEach(async () => {
  log = new KeptLog();
  vhost = await testVhost();
  proxy = new TcpProxy(vhost.url);
  proxied = await proxy.listen();
  broker = new AmqpBroker({ url: proxied, name: 'labhand test', logger: log });
});
afterEach(async () => {
  await broker.close();
  await proxy.close();
  await vhost.remove();
});

async function collect(source: Parameters<AmqpBroker['consume']>[0] = { queue: TICKETS }) {
  const inbox = new Inbox<Delivery>();
  const consumption = await broker.consume(source, ONE, async (delivery) => {
    inbox.put(delivery);
    return 'ack';
  });
  return { inbox, consumption };
}

/** Publishes as our own code does: again, until the broker has it. */
async function publish(text: string, route = TICKET_ROUTE): Promise<void> {
  await eventually(
    () =>
      broker.publish(route, message(text)).then(
        () => 'published',
        () => 'not published',
      ),
    'published',
  );
}

describe('a consumer of RabbitMQ', () => {
  beforeEach(() => broker.connect());

  it('consumes again after its queue was deleted', async () => {
    const { inbox } = await collect();
    await publish('before');
    expect(textOf(await inbox.next())).toBe('before');
    await vhost.deleteQueue(TICKETS.name);
    await publish('after');
    expect(textOf(await inbox.next())).toBe('after');
    expect(log.lines.join()).toContain(TICKETS.name);
  });

  it('consumes again after its connection was cut', async () => {
    const { inbox } = await collect();
    const events = await collect({ exchange: EVENTS_EXCHANGE.name, keys: ['#'] });
    const heard: BrokerStatus[] = [];
    broker.status.subscribe((status) => heard.push(status));
    proxy.cut();
    await eventually(() => heard.join(), 'connected,disconnected,connected');
    await publish('after');
    expect(textOf(await inbox.next())).toBe('after');
    const route = { exchange: EVENTS_EXCHANGE.name, key: 'a.b', confirmed: false, persistent: false };
    // The private queue comes a moment after the connection.
    await eventually(async () => {
      await broker.publish(route, message('event'));
      return events.inbox.all.length > 0;
    }, true);
  });

  it('consumes again after the broker closed its channel', async () => {
    const { inbox, consumption } = await collect();
    spoil(consumption);
    await eventually(() => log.lines.some((line) => line.includes('PRECONDITION_FAILED')), true);
    await publish('after');
    expect(textOf(await inbox.next())).toBe('after');
  });

  it('gets no second message while its handler is busy with one of an earlier connection', async () => {
    const hold = gate();
    const seen = new Inbox<string>();
    let busy = 0;
    let most = 0;
    await broker.consume({ queue: TICKETS }, ONE, async (delivery) => {
      most = Math.max(most, ++busy);
      seen.put(textOf(delivery));
      await hold.opened;
      busy--;
      return 'ack';
    });
    await publish('long');
    await seen.next();
    proxy.cut();
    // It went back into the queue, and nobody else is there to take it.
    await eventually(() => broker.depth(TICKETS).catch(() => -1), 1);
    await publish('other');
    await eventually(() => broker.depth(TICKETS), 2);
    hold.open();
    expect(await seen.take(2)).toEqual(['long', 'other']);
    expect(most).toBe(1);
  });

  it('listens again when the handler of a released message ends after a cut', async () => {
    const hold = gate();
    const seen = new Inbox<string>();
    const released = gate();
    await broker.consume({ queue: TICKETS }, ONE, async (delivery) => {
      seen.put(textOf(delivery));
      if (textOf(delivery) !== 'long') return 'ack';
      await delivery.release();
      released.open();
      await hold.opened;
      return 'ack';
    });
    await publish('long');
    await released.opened;
    await eventually(() => broker.depth(TICKETS), 0);
    proxy.cut();
    await publish('next');
    await eventually(() => broker.depth(TICKETS).catch(() => -1), 1);
    expect(seen.all).toEqual(['long']);
    hold.open();
    expect(await seen.take(2)).toEqual(['long', 'next']);
  });

  it('can be stopped while the connection is away', async () => {
    const { inbox, consumption } = await collect();
    proxy.cut();
    await consumption.stop();
    await consumption.idle();
    await publish('after');
    expect(await broker.depth(TICKETS)).toBe(1);
    expect(inbox.all).toHaveLength(0);
  });
});

describe('a publisher to RabbitMQ', () => {
  beforeEach(() => broker.connect());

  it('declares a deleted queue again', async () => {
    await broker.publish(TICKET_ROUTE, message('a'));
    await vhost.deleteQueue(TICKETS.name);
    await broker.publish(TICKET_ROUTE, message('b'));
    expect(await broker.depth(TICKETS)).toBe(1);
  });

  it('fails what waits when the connection is cut, and what comes before the next one', async () => {
    const waiting = broker.request(claimRoute, message('a'), 60_000);
    const rejected = expect(waiting).rejects.toThrow(BrokerUnavailableError);
    proxy.cut();
    await rejected;
    await expect(broker.publish(TICKET_ROUTE, message('b'))).rejects.toThrow(BrokerUnavailableError);
    await publish('c');
  });

  it('comes back after the broker closed its channel', async () => {
    const nowhere = { exchange: 'no-such-exchange', key: '', confirmed: true, persistent: false };
    await expect(broker.publish(nowhere, message('a'))).rejects.toThrow(BrokerUnavailableError);
    await publish('b');
    expect(await broker.depth(TICKETS)).toBe(1);
  });

  it('is not hurt by a queue that stands there with other arguments', async () => {
    await raw(async (channel) => {
      await channel.assertQueue(ticketsQueue('other').name, { durable: true });
    });
    const pending = broker.request(claimRoute, message('a'), 60_000);
    let settled = false;
    const settling = pending.catch(() => undefined).finally(() => (settled = true));
    await expect(broker.depth(ticketsQueue('other'))).rejects.toThrow(BrokerUnavailableError);
    await broker.publish(TICKET_ROUTE, message('b'));
    expect(settled).toBe(false);
    await broker.close();
    await settling;
  });

  it('loses none of what was confirmed when it is cut again and again', async () => {
    const { inbox } = await collect();
    const count = 60;
    const sending = Promise.all(Array.from({ length: count }, (_, i) => publish(String(i))));
    for (let cuts = 0; cuts < 3; cuts++) {
      await inbox.next();
      proxy.cut();
    }
    await sending;
    await eventually(() => new Set(inbox.all.map(textOf)).size, count);
  });
});

describe('connecting to RabbitMQ', () => {
  it('goes on trying until a server is there, and says so', async () => {
    const [port] = await freePorts(1);
    const late = new TcpProxy(vhost.url);
    const url = new URL(vhost.url);
    url.hostname = '127.0.0.1';
    url.port = String(port);
    const patient = new AmqpBroker({ url: url.href, name: 'labhand test', logger: log });
    const connected = patient.connect();
    await eventually(() => log.lines.some((line) => line.includes('cannot be used yet')), true);
    await late.listen(port);
    await connected;
    await patient.close();
    await late.close();
    expect(log.lines.join()).not.toContain(url.password);
  });

  it('can be given up', async () => {
    const [port] = await freePorts(1);
    const waiting = new AmqpBroker({ url: `amqp://127.0.0.1:${port}`, name: 'labhand test', logger: log });
    const rejected = expect(waiting.connect()).rejects.toThrow('closed');
    await eventually(() => log.lines.some((line) => line.includes('cannot be used yet')), true);
    await waiting.close();
    await rejected;
  });

  it('waits for a virtual host that is missing, and says which', async () => {
    const name = `late-${randomUUID()}`;
    const url = new URL(vhost.url);
    url.pathname = `/${name}`;
    const patient = new AmqpBroker({ url: url.href, name: 'labhand test', logger: log });
    const connected = patient.connect();
    await eventually(() => log.lines.some((line) => line.includes(`virtual host "${name}"`)), true);
    const late = await testVhost(undefined, name);
    await connected;
    await patient.close();
    await late.remove();
  });

  it('fails at once with a wrong password, and does not repeat it', async () => {
    const url = new URL(vhost.url);
    url.password = 'sesame';
    const refused = new AmqpBroker({ url: url.href, name: 'labhand test', logger: log });
    await expect(refused.connect()).rejects.toThrow(BrokerRefusedError);
    await expect(refused.connect()).rejects.toThrow('check user and password');
    await expect(refused.connect()).rejects.not.toThrow('sesame');
    expect(log.lines.join()).not.toContain('sesame');
  });

  it.each(['http://user:sesame@host', 'sesame', 'amqp://'])('refuses %s as an address', (url) => {
    const make = () => new AmqpBroker({ url, name: 'labhand test', logger: log });
    expect(make).toThrow('expected amqp://');
    expect(make).not.toThrow('sesame');
  });
});

describe('a RabbitMQ that dies', () => {
  let server: RabbitMq;
  let own: AmqpBroker;

  beforeAll(async () => {
    server = await startOwnRabbitMq();
    own = new AmqpBroker({ url: server.url, name: 'labhand test', logger: new KeptLog() });
    await own.connect();
  }, 120_000);
  afterAll(async () => {
    await own?.close();
    await server?.stop();
  });

  it.each(['with its data', 'without its data'])(
    'is used again when it comes back %s',
    async (data) => {
      const inbox = new Inbox<string>();
      const consumptions = [
        { queue: TICKETS },
        { queue: REPORTS_QUEUE },
        { exchange: CONTROL_EXCHANGE.name, keys: ['#'] },
      ].map((source) =>
        own.consume(source, ONE, async (delivery) => {
          inbox.put(textOf(delivery));
          delivery.message.reply?.(Buffer.from('answer'));
          return 'ack';
        }),
      );
      const consuming = await Promise.all(consumptions);
      await server.kill();
      if (data === 'without its data') await server.wipe();
      await server.startAgain();
      const topic = { exchange: CONTROL_EXCHANGE.name, key: 'worker.a', confirmed: false, persistent: false };
      const report = { exchange: '', key: REPORTS_QUEUE.name, confirmed: false, persistent: false };
      await eventually(() => works(() => own.publish(TICKET_ROUTE, message(`ticket ${data}`))), true, 30_000);
      await eventually(
        () => works(() => own.request(report, message(`report ${data}`), 2_000)),
        true,
        30_000,
      );
      await eventually(async () => {
        await works(() => own.publish(topic, message(`control ${data}`)));
        return inbox.all.includes(`control ${data}`);
      }, true);
      await eventually(() => inbox.all.includes(`ticket ${data}`), true);
      await Promise.all(consuming.map((consumption) => consumption.stop()));
    },
    120_000,
  );
});

async function works(act: () => Promise<unknown>): Promise<boolean> {
  return act().then(
    () => true,
    () => false,
  );
}

/** Makes the broker close the channel: it never handed out a message of this number. */
function spoil(consumption: Consumption): void {
  const { channel } = consumption as unknown as { channel: Channel };
  channel.ack({ fields: { deliveryTag: 4711 } } as Parameters<Channel['ack']>[0]);
}

async function raw(use: (channel: Channel) => Promise<void>): Promise<void> {
  const connection = await connect(vhost.url);
  try {
    await use(await connection.createChannel());
  } finally {
    await connection.close();
  }
}
