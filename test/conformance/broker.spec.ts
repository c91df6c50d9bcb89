import {
  BrokerUnavailableError,
  RequestTimeoutError,
  UnroutableError,
  type Broker,
  type BrokerStatus,
  type Delivery,
  type OutgoingMessage,
  type Settlement,
} from '#shared/channel/broker.js';
import {
  CLAIMS_QUEUE,
  CONTROL_EXCHANGE,
  DEAD_QUEUE,
  EVENTS_EXCHANGE,
  REPORTS_QUEUE,
  ticketsQueue,
  type QueueDeclaration,
  type Route,
} from '#shared/amqp/topology.js';
import { eventually, gate, Inbox } from '../support/signals.js';
import { BROKERS, type TestBroker } from '../support/test-broker.js';

const TICKETS = ticketsQueue('default');
const ONE = { consumers: 1, prefetch: 1 };

const message = (text: string): OutgoingMessage => ({ type: 'note', content: Buffer.from(text) });
const textOf = ({ message: { content } }: Delivery) => content.toString();
const to = (queue: QueueDeclaration, route: Partial<Route> = {}): Route => ({
  exchange: '',
  key: queue.name,
  declare: queue,
  confirmed: true,
  persistent: true,
  ...route,
});
const toTopic = (exchange: string, key: string): Route => ({
  exchange,
  key,
  confirmed: false,
  persistent: false,
});

describe.each(Object.entries(BROKERS))('a broker: %s', (_name, make) => {
  let test: TestBroker;
  let broker: Broker;

  beforeEach(async () => {
    test = await make();
    broker = test.broker;
    await broker.connect();
  });
  afterEach(() => test.end());

  /** Consumes and keeps; settles as told. */
  async function collect(queue: QueueDeclaration, settlement: Settlement = 'ack', options = ONE) {
    const inbox = new Inbox<Delivery>();
    const consumption = await broker.consume({ queue }, options, async (delivery) => {
      inbox.put(delivery);
      return settlement;
    });
    return { inbox, consumption };
  }

  it('hands a published message to a consumer as it was sent', async () => {
    const { inbox } = await collect(TICKETS);
    const headers = { traceparent: '00-ab-cd-01', 'labhand-version': 1 };
    await broker.publish(to(TICKETS), { type: 'note', content: Buffer.from([0, 255, 7]), headers });
    const { message: received } = await inbox.next();
    expect(received.type).toBe('note');
    expect([...received.content]).toEqual([0, 255, 7]);
    expect(received.headers).toMatchObject(headers);
    expect(received.redelivered).toBe(false);
    expect(received.reply).toBeUndefined();
  });

  it('keeps messages for a consumer that comes later, in order', async () => {
    for (const text of ['a', 'b', 'c']) await broker.publish(to(TICKETS), message(text));
    const { inbox } = await collect(TICKETS);
    expect((await inbox.take(3)).map(textOf)).toEqual(['a', 'b', 'c']);
  });

  it('does not run a handler within the call that publishes', async () => {
    let during = true;
    const seen = new Inbox<boolean>();
    await broker.consume({ queue: TICKETS }, ONE, async () => {
      seen.put(during);
      return 'ack';
    });
    const published = broker.publish(to(TICKETS), message('a'));
    during = false;
    await published;
    expect(await seen.next()).toBe(false);
  });

  it('shares messages out among the consumers of a queue', async () => {
    const hold = gate();
    const busy = new Inbox<string>();
    for (const consumer of ['first', 'second']) {
      await broker.consume({ queue: TICKETS }, ONE, async () => {
        busy.put(consumer);
        await hold.opened;
        return 'ack';
      });
    }
    for (const text of ['a', 'b']) await broker.publish(to(TICKETS), message(text));
    expect((await busy.take(2)).sort()).toEqual(['first', 'second']);
    hold.open();
  });

  it('hands out no more unsettled messages than consumers times prefetch', async () => {
    const hold = gate();
    const started = new Inbox<string>();
    const consumption = await broker.consume(
      { queue: TICKETS },
      { consumers: 2, prefetch: 3 },
      async (delivery) => {
        started.put(textOf(delivery));
        await hold.opened;
        return 'ack';
      },
    );
    for (let i = 0; i < 10; i++) await broker.publish(to(TICKETS), message(String(i)));
    await started.take(6);
    await eventually(() => broker.depth(TICKETS), 4);
    expect(started.all).toHaveLength(6);
    hold.open();
    await started.take(4);
    await consumption.idle();
    await eventually(() => broker.depth(TICKETS), 0);
  });

  it('hands a requeued message out again, marked as redelivered', async () => {
    const seen = new Inbox<boolean>();
    await broker.consume({ queue: TICKETS }, ONE, async ({ message: { redelivered } }) => {
      seen.put(redelivered);
      return redelivered ? 'ack' : 'requeue';
    });
    await broker.publish(to(TICKETS), message('again'));
    expect(await seen.take(2)).toEqual([false, true]);
  });

  it.each([
    ['a queue of tickets', TICKETS],
    ['the queue of reports', REPORTS_QUEUE],
  ])('lays what was dead-lettered from %s into labhand.dead', async (_kind, queue) => {
    await collect(queue, 'dead-letter');
    await broker.publish(to(queue), message('bad'));
    const dead = await collect(DEAD_QUEUE);
    expect(textOf(await dead.inbox.next())).toBe('bad');
  });

  it('dead-letters the message of a handler that throws, and goes on', async () => {
    const seen = new Inbox<string>();
    await broker.consume({ queue: TICKETS }, ONE, async (delivery) => {
      seen.put(textOf(delivery));
      if (textOf(delivery) === 'bad') throw new Error('no idea what to do with it');
      return 'ack';
    });
    for (const text of ['bad', 'good']) await broker.publish(to(TICKETS), message(text));
    expect(await seen.take(2)).toEqual(['bad', 'good']);
    await eventually(() => broker.depth(DEAD_QUEUE), 1);
    expect(test.log.lines.join()).toContain('no idea what to do with it');
  });

  it('drops what was dead-lettered from a queue that sends its dead nowhere', async () => {
    const { inbox, consumption } = await collect(CLAIMS_QUEUE, 'dead-letter');
    await broker.publish(to(CLAIMS_QUEUE), message('a'));
    await inbox.next();
    await consumption.stop();
    await consumption.idle();
    expect(await broker.depth(CLAIMS_QUEUE)).toBe(0);
    expect(await broker.depth(DEAD_QUEUE)).toBe(0);
  });

  it('rejects a confirmed message that no queue takes', async () => {
    const lost = to(ticketsQueue('nobody'), { declare: undefined });
    await expect(broker.publish(lost, message('a'))).rejects.toThrow(UnroutableError);
    await broker.publish(to(TICKETS), message('b'));
    expect(await broker.depth(TICKETS)).toBe(1);
  });

  it('drops an unconfirmed message that no queue takes', async () => {
    const lost = to(ticketsQueue('nobody'), { declare: undefined, confirmed: false });
    await expect(broker.publish(lost, message('a'))).resolves.toBeUndefined();
  });

  it('confirms many messages at once', async () => {
    const count = 500;
    const sends = Array.from({ length: count }, (_, i) => broker.publish(to(TICKETS), message(String(i))));
    await Promise.all(sends);
    await eventually(() => broker.depth(TICKETS), count);
  });

  it('passes messages of a megabyte', async () => {
    const { inbox } = await collect(REPORTS_QUEUE);
    const content = Buffer.alloc(2 ** 20, 'x');
    await broker.publish(to(REPORTS_QUEUE, { confirmed: false }), { type: 'note', content });
    expect((await inbox.next()).message.content.equals(content)).toBe(true);
  });

  it('takes more than its buffers hold without losing any', async () => {
    const { inbox } = await collect(REPORTS_QUEUE, 'ack', { consumers: 1, prefetch: 100 });
    const count = 5_000;
    const route = to(REPORTS_QUEUE, { declare: undefined, confirmed: false, persistent: false });
    await Promise.all(Array.from({ length: count }, (_, i) => broker.publish(route, message(String(i)))));
    expect((await inbox.take(count)).map(textOf)).toEqual(Array.from({ length: count }, (_, i) => String(i)));
  });

  it('answers requests, each with its own answer', async () => {
    await broker.consume({ queue: CLAIMS_QUEUE }, { consumers: 1, prefetch: 10 }, async (delivery) => {
      delivery.message.reply?.(Buffer.from(`answer to ${textOf(delivery)}`));
      delivery.message.reply?.(Buffer.from('a second answer that nobody waits for'));
      return 'ack';
    });
    const texts = ['a', 'b', 'c'];
    const answers = texts.map((text) => broker.request(to(CLAIMS_QUEUE), message(text), 10_000));
    expect((await Promise.all(answers)).map(String)).toEqual(texts.map((text) => `answer to ${text}`));
  });

  it('gives up a request that nobody answers in time, and takes the next one', async () => {
    const { consumption } = await collect(CLAIMS_QUEUE);
    await expect(broker.request(to(CLAIMS_QUEUE), message('a'), 50)).rejects.toThrow(RequestTimeoutError);
    await consumption.stop();
    await broker.consume({ queue: CLAIMS_QUEUE }, ONE, async (delivery) => {
      delivery.message.reply?.(Buffer.from('yes'));
      return 'ack';
    });
    expect(String(await broker.request(to(CLAIMS_QUEUE), message('b'), 10_000))).toBe('yes');
  });

  it('ignores an answer that comes too late', async () => {
    const { inbox } = await collect(CLAIMS_QUEUE);
    await expect(broker.request(to(CLAIMS_QUEUE), message('a'), 50)).rejects.toThrow(RequestTimeoutError);
    const { reply } = (await inbox.next()).message;
    const next = broker.request(to(CLAIMS_QUEUE), message('b'), 10_000);
    reply!(Buffer.from('late'));
    (await inbox.next()).message.reply!(Buffer.from('in time'));
    expect(String(await next)).toBe('in time');
  });

  it.each([
    ['default.succeeded', 'default.succeeded', true],
    ['default.succeeded', 'default.failed', false],
    ['default.*', 'default.failed', true],
    ['default.*', 'default.failed.twice', false],
    ['*.failed', 'default.failed', true],
    ['*.*.#', 'default.failed', true],
    ['default.#', 'default', true],
    ['default.#', 'default.failed.twice', true],
    ['#.failed', 'a.b.failed', true],
    ['a-b_c.#', 'a-bxc.failed', false],
  ])('binds a private queue by %s: %s arrives, %s', async (binding, key, arrives) => {
    const inbox = new Inbox<string>();
    const source = { exchange: EVENTS_EXCHANGE.name, keys: [binding, 'the.end'] };
    await broker.consume(source, ONE, async (delivery) => {
      inbox.put(textOf(delivery));
      return 'ack';
    });
    await broker.publish(toTopic(EVENTS_EXCHANGE.name, key), message('event'));
    await broker.publish(toTopic(EVENTS_EXCHANGE.name, 'the.end'), message('end'));
    const expected = arrives ? ['event', 'end'] : ['end'];
    expect(await inbox.take(expected.length)).toEqual(expected);
  });

  it('hands a topic message to everybody who is bound to it, once each', async () => {
    const inboxes = [new Inbox<string>(), new Inbox<string>()];
    for (const inbox of inboxes) {
      const source = { exchange: CONTROL_EXCHANGE.name, keys: ['worker.*', 'worker.one'] };
      await broker.consume(source, ONE, async (delivery) => {
        inbox.put(textOf(delivery));
        return 'ack';
      });
    }
    for (const text of ['a', 'b'])
      await broker.publish(toTopic(CONTROL_EXCHANGE.name, 'worker.one'), message(text));
    for (const inbox of inboxes) expect(await inbox.take(2)).toEqual(['a', 'b']);
  });

  it('settles a released message at once and pushes no other one before its handler is done', async () => {
    const hold = gate();
    const released = gate();
    const seen = new Inbox<string>();
    const consumption = await broker.consume({ queue: TICKETS }, ONE, async (delivery) => {
      seen.put(textOf(delivery));
      if (textOf(delivery) !== 'long') return 'ack';
      await delivery.release();
      released.open();
      await hold.opened;
      return 'dead-letter';
    });
    await broker.publish(to(TICKETS), message('long'));
    await released.opened;
    await broker.publish(to(TICKETS), message('next'));
    await eventually(() => broker.depth(TICKETS), 1);
    expect(seen.all).toEqual(['long']);
    hold.open();
    expect(await seen.take(2)).toEqual(['long', 'next']);
    await consumption.stop();
    await consumption.idle();
    // What the handler said of the released message came too late to count.
    expect(await broker.depth(DEAD_QUEUE)).toBe(0);
  });

  it('lets the other consumers of a queue work while one has released its message', async () => {
    const hold = gate();
    const seen = new Inbox<string>();
    await broker.consume({ queue: TICKETS }, { consumers: 2, prefetch: 1 }, async (delivery) => {
      if (textOf(delivery) === 'long') {
        await delivery.release();
        await hold.opened;
      }
      seen.put(textOf(delivery));
      return 'ack';
    });
    for (const text of ['long', 'a', 'b']) await broker.publish(to(TICKETS), message(text));
    expect(await seen.take(2)).toEqual(['a', 'b']);
    hold.open();
    expect(await seen.next()).toBe('long');
  });

  it('draws another message of the queue unseen, as long as there is one', async () => {
    const drawn: boolean[] = [];
    const seen = new Inbox<string>();
    for (const text of ['first', 'unseen', 'third']) await broker.publish(to(TICKETS), message(text));
    await broker.consume({ queue: TICKETS }, ONE, async (delivery) => {
      const text = textOf(delivery);
      drawn.push(await delivery.drawAnother());
      seen.put(text);
      return 'ack';
    });
    expect(await seen.take(2)).toEqual(['first', 'third']);
    expect(drawn).toEqual([true, false]);
    expect(await broker.depth(TICKETS)).toBe(0);
    expect(await broker.depth(DEAD_QUEUE)).toBe(0);
  });

  it('draws from the queue whose message was released', async () => {
    const seen = new Inbox<string>();
    await broker.consume({ queue: TICKETS }, ONE, async (delivery) => {
      const text = textOf(delivery);
      if (text === 'first') {
        await delivery.release();
        await broker.publish(to(TICKETS), message('unseen'));
        expect(await delivery.drawAnother()).toBe(true);
      }
      seen.put(text);
      return 'ack';
    });
    await broker.publish(to(TICKETS), message('first'));
    expect(await seen.next()).toBe('first');
    await broker.publish(to(TICKETS), message('second'));
    expect(await seen.next()).toBe('second');
  });

  it('hands out nothing after it was stopped, and is idle when what was under way has settled', async () => {
    const hold = gate();
    const seen = new Inbox<string>();
    const consumption = await broker.consume({ queue: TICKETS }, ONE, async (delivery) => {
      seen.put(textOf(delivery));
      await hold.opened;
      return 'ack';
    });
    await broker.publish(to(TICKETS), message('under way'));
    await seen.next();
    await consumption.stop();
    await broker.publish(to(TICKETS), message('later'));
    let idle = false;
    const whenIdle = consumption.idle().then(() => (idle = true));
    await eventually(() => broker.depth(TICKETS), 1);
    expect(idle).toBe(false);
    hold.open();
    await whenIdle;
    expect(await broker.depth(TICKETS)).toBe(1);
    expect(seen.all).toEqual(['under way']);
    const { inbox } = await collect(TICKETS);
    const next = await inbox.next();
    expect([textOf(next), next.message.redelivered]).toEqual(['later', false]);
  });

  it('counts what waits in a queue, and declares one that is missing', async () => {
    const queue = ticketsQueue('unheard-of');
    expect(await broker.depth(queue)).toBe(0);
    await broker.publish(to(queue, { declare: undefined }), message('a'));
    expect(await broker.depth(queue)).toBe(1);
  });

  it('tells its status, and refuses to work before and after it is connected', async () => {
    const other = await make();
    const heard: BrokerStatus[] = [];
    other.broker.status.subscribe((status) => heard.push(status));
    await expect(other.broker.publish(to(TICKETS), message('a'))).rejects.toThrow(BrokerUnavailableError);
    await expect(other.broker.request(to(CLAIMS_QUEUE), message('a'), 10_000)).rejects.toThrow(
      BrokerUnavailableError,
    );
    await other.broker.connect();
    await other.broker.connect();
    expect(heard).toEqual(['disconnected', 'connected']);
    const unanswered = other.broker.request(to(CLAIMS_QUEUE), message('a'), 60_000);
    const rejected = expect(unanswered).rejects.toThrow(BrokerUnavailableError);
    await other.end();
    await rejected;
    expect(heard).toEqual(['disconnected', 'connected', 'disconnected']);
    await expect(other.broker.publish(to(TICKETS), message('a'))).rejects.toThrow(BrokerUnavailableError);
    await expect(other.broker.depth(TICKETS)).rejects.toThrow(BrokerUnavailableError);
  });
});
