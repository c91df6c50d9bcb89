import { randomUUID } from 'node:crypto';
import type { ChannelModel, ConfirmChannel, Message, Options } from 'amqplib';
import {
  BrokerUnavailableError,
  RequestTimeoutError,
  UnroutableError,
  type OutgoingMessage,
} from '../channel/broker.js';
import { closeChannel, declareQueue, heard, openChannel, withChannel } from './amqp-channels.js';
import type { QueueDeclaration, Route } from './topology.js';

/** The reply queue of RabbitMQ that is no queue: works only on the channel that also sends the request. */
const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to';

/** A broker in trouble takes messages and never confirms them. */
const CONFIRM_MS = 15_000;

interface Lines {
  readonly model: ChannelModel;
  /** Fire and forget, requests and their replies: no confirms to pay for. */
  readonly plain: OutgoingChannel;
  readonly confirming: OutgoingChannel;
}

interface Waiting {
  resolve(content: Buffer): void;
  reject(error: Error): void;
}

/** All that goes out over one connection; lives from connection to connection. */
export class AmqpPublisher {
  private lines: Lines | null = null;
  private blocked: Error | null = null;
  private sequence = 0;
  private readonly requests = new Map<string, Waiting>();
  private readonly unconfirmed = new Set<(error: Error) => void>();
  private readonly returned = new Set<string>();
  private readonly declared = new Map<string, Promise<unknown>>();

  /** `broken`: a channel was closed by the broker, and the connection has to be made anew. */
  constructor(private readonly broken: (model: ChannelModel) => void) {}

  /** Opens the channels on a new connection. */
  async open(model: ChannelModel): Promise<void> {
    const confirming = heard(await model.createConfirmChannel());
    confirming.on('return', (message) => this.returned.add(String(message.properties.messageId)));
    const plain = await openChannel(model);
    plain.on('return', (message) => this.unroutable(message));
    await plain.consume(
      DIRECT_REPLY_TO,
      (message) => {
        if (message) this.answered(String(message.properties.correlationId), message.content);
      },
      { noAck: true },
    );
    const lines = {
      model,
      // Of the two only a confirm channel calls back.
      plain: new OutgoingChannel(plain as ConfirmChannel),
      confirming: new OutgoingChannel(confirming),
    };
    for (const channel of [plain, confirming]) channel.on('close', () => this.lost(lines));
    model.on('blocked', (reason) => this.block(reason));
    model.on('unblocked', () => (this.blocked = null));
    this.blocked = null;
    this.declared.clear();
    this.lines = lines;
  }

  /** What was sent is with the broker when this resolves; what waits for it fails. */
  async close(): Promise<void> {
    const { lines } = this;
    this.lines = null;
    if (lines) await Promise.all([closeChannel(lines.plain.channel), closeChannel(lines.confirming.channel)]);
    this.failAll(new Error('closed'));
  }

  async publish(route: Route, message: OutgoingMessage): Promise<void> {
    const lines = this.openLines();
    const declared = route.declare && this.declare(lines.model, route.declare);
    await declared;
    if (!route.confirmed) return lines.plain.send(route, message.content, optionsOf(route, message));
    if (await this.confirmed(lines, route, message)) return;
    // The queue was deleted after we declared it.
    if (!route.declare) throw new UnroutableError(route);
    if (this.declared.get(route.declare.name) === declared) this.declared.delete(route.declare.name);
    await this.declare(lines.model, route.declare);
    if (!(await this.confirmed(lines, route, message))) throw new UnroutableError(route);
  }

  async request(route: Route, message: OutgoingMessage, timeoutMs: number): Promise<Buffer> {
    const { plain } = this.openLines();
    const correlationId = randomUUID();
    return new Promise<Buffer>((resolve, reject) => {
      const timer = setTimeout(() => reject(new RequestTimeoutError(message.type, timeoutMs)), timeoutMs);
      this.requests.set(correlationId, {
        resolve: (content) => (clearTimeout(timer), resolve(content)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      });
      plain
        .send(route, message.content, {
          ...optionsOf(route, message),
          correlationId,
          replyTo: DIRECT_REPLY_TO,
          mandatory: true,
        })
        .catch((error: Error) => this.requests.get(correlationId)?.reject(error));
    }).finally(() => this.requests.delete(correlationId));
  }

  /** Answers a request. Where that cannot be done the asker will ask again. */
  reply(replyTo: string, correlationId: string, content: Buffer): void {
    if (!this.lines || this.blocked) return;
    this.lines.plain.send({ exchange: '', key: replyTo }, content, { correlationId }).catch(() => undefined);
  }

  /** @returns whether a queue took it */
  private confirmed({ confirming }: Lines, route: Route, message: OutgoingMessage): Promise<boolean> {
    const messageId = String(++this.sequence);
    let timer: NodeJS.Timeout;
    let fail: (error: Error) => void;
    return new Promise<boolean>((resolve, reject) => {
      fail = (error) => reject(new BrokerUnavailableError(error));
      this.unconfirmed.add(fail);
      timer = setTimeout(() => fail(new Error(`no confirm within ${CONFIRM_MS} ms`)), CONFIRM_MS);
      const options = { ...optionsOf(route, message), messageId, mandatory: true };
      const onConfirm = (error: Error | null) => {
        const returned = this.returned.delete(messageId);
        if (error) fail(error);
        else resolve(!returned);
      };
      confirming.send(route, message.content, options, onConfirm).catch(reject);
    }).finally(() => {
      clearTimeout(timer);
      this.unconfirmed.delete(fail);
    });
  }

  /** Once per connection. */
  private declare(model: ChannelModel, queue: QueueDeclaration): Promise<unknown> {
    const known = this.declared.get(queue.name);
    if (known) return known;
    const declaring = withChannel(model, (channel) => declareQueue(channel, queue)).catch(
      (error: unknown) => {
        this.declared.delete(queue.name);
        throw new BrokerUnavailableError(error);
      },
    );
    this.declared.set(queue.name, declaring);
    return declaring;
  }

  private openLines(): Lines {
    if (!this.lines || this.blocked) throw new BrokerUnavailableError(this.blocked ?? undefined);
    return this.lines;
  }

  private answered(correlationId: string, content: Buffer): void {
    this.requests.get(correlationId)?.resolve(content);
  }

  /** Nobody listens where a request went: better asked again soon than waited for. */
  private unroutable({ properties, fields: { exchange, routingKey: key } }: Message): void {
    this.requests.get(String(properties.correlationId))?.reject(new UnroutableError({ exchange, key }));
  }

  /** RabbitMQ reads nothing more from us while it is short of memory or disk: what waits would wait for long. */
  private block(reason: string): void {
    this.blocked = new Error(`RabbitMQ takes no messages at the moment: ${reason}`);
    this.failAll(this.blocked);
  }

  private lost(lines: Lines): void {
    if (this.lines !== lines) return;
    this.lines = null;
    this.failAll(new Error('the connection was lost'));
    this.returned.clear();
    this.broken(lines.model);
  }

  private failAll(cause: Error): void {
    for (const waiting of this.requests.values()) waiting.reject(new BrokerUnavailableError(cause));
    for (const fail of this.unconfirmed) fail(cause);
  }
}

/** A channel that makes its senders wait when the broker reads more slowly than they write. */
class OutgoingChannel {
  private draining: Promise<void> | null = null;

  constructor(readonly channel: ConfirmChannel) {}

  /**
   * Resolves once the channel has room for more.
   * @throws {BrokerUnavailableError} the channel is closed
   */
  async send(
    to: Pick<Route, 'exchange' | 'key'>,
    content: Buffer,
    options: Options.Publish,
    confirmed?: Confirmed,
  ): Promise<void> {
    while (this.draining) await this.draining;
    try {
      const hasRoom = this.channel.publish(to.exchange, to.key, content, options, confirmed);
      if (!hasRoom) this.draining = this.drained();
    } catch (error) {
      throw new BrokerUnavailableError(error);
    }
    if (this.draining) await this.draining;
  }

  private drained(): Promise<void> {
    const { channel } = this;
    return new Promise<void>((resolve, reject) => {
      const onDrain = () => (stopListening(), resolve());
      const onClose = () => (stopListening(), reject(new BrokerUnavailableError()));
      const stopListening = () => {
        channel.off('drain', onDrain).off('close', onClose);
        this.draining = null;
      };
      channel.on('drain', onDrain).on('close', onClose);
    });
  }
}

type Confirmed = (error: Error | null) => void;

function optionsOf(route: Route, { type, headers }: OutgoingMessage): Options.Publish {
  return { type, headers, persistent: route.persistent, contentType: 'application/json' };
}
