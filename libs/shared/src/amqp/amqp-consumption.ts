import type { LoggerService } from '@nestjs/common';
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import { BehaviorSubject, filter, firstValueFrom, type Subscription } from 'rxjs';
import type {
  Consumption,
  ConsumeOptions,
  ConsumerHandler,
  Delivery,
  RawMessage,
  Settlement,
  Source,
} from '../channel/broker.js';
import { closeChannel, declareQueue, openChannel, patiently } from './amqp-channels.js';
import type { AmqpConnection } from './amqp-connection.js';

const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 5_000;

/** One of the consumers. It listens anew only when all that it was handed has settled, see `listen`. */
interface Consumer {
  /** While it listens. */
  tag?: string;
  underWay: number;
}

type Reply = (replyTo: string, correlationId: string, content: Buffer) => void;

/**
 * The consumers of one source, on one channel. Whatever ends the channel or a consumer (a lost connection, a
 * deleted queue, an ack that came too late), they listen again on a new one.
 */
export class AmqpConsumption implements Consumption {
  private readonly consumers: Consumer[];
  private readonly underWay = new BehaviorSubject(0);
  private readonly watching: Subscription;
  private channel: Channel | null = null;
  private queue = '';
  private tags = 0;
  private opening = false;
  private stopped = false;
  private retryMs = FIRST_RETRY_MS;
  private retry?: NodeJS.Timeout;
  private closing?: Promise<void>;
  private started!: () => void;
  /** Resolves when the consumers listen for the first time, or never will. */
  readonly listening = new Promise<void>((resolve) => (this.started = resolve));

  constructor(
    private readonly connection: AmqpConnection,
    private readonly source: Source,
    private readonly options: ConsumeOptions,
    private readonly handler: ConsumerHandler,
    private readonly reply: Reply,
    private readonly logger: LoggerService,
    /** Else it waits for somebody else to declare the queue. */
    private readonly declares: boolean,
  ) {
    this.consumers = Array.from({ length: options.consumers }, () => ({ underWay: 0 }));
    this.watching = connection.model.subscribe((model) => model && this.openIn(0));
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    clearTimeout(this.retry);
    this.watching.unsubscribe();
    this.started();
    await Promise.all(this.consumers.map((consumer) => this.silence(consumer)));
    this.closeWhenIdle();
  }

  async idle(): Promise<void> {
    await firstValueFrom(this.underWay.pipe(filter((count) => count === 0)));
    await this.closing;
  }

  private openIn(delayMs: number): void {
    clearTimeout(this.retry);
    this.retry = setTimeout(() => void this.open(), delayMs);
  }

  private async open(): Promise<void> {
    const model = this.connection.model.value;
    if (!model || this.channel || this.opening || this.stopped) return;
    this.opening = true;
    try {
      await this.openOn(model);
      this.retryMs = FIRST_RETRY_MS;
      this.started();
    } catch (error) {
      this.failed((error as Error).message);
    } finally {
      this.opening = false;
    }
  }

  private async openOn(model: ChannelModel): Promise<void> {
    const channel = await openChannel(model);
    try {
      this.queue = await this.declare(channel);
      await channel.prefetch(this.options.prefetch);
    } catch (error) {
      await closeChannel(channel);
      throw error;
    }
    if (this.stopped) return closeChannel(channel);
    let why = 'the channel was closed';
    channel.on('error', (error) => (why = error.message));
    channel.on('close', () => this.lost(channel, why));
    this.channel = channel;
    await Promise.all(this.consumers.map((consumer) => this.listen(consumer)));
  }

  /** @returns the name of the queue that is consumed */
  private async declare(channel: Channel): Promise<string> {
    if ('queue' in this.source) {
      const { queue } = this.source;
      return (await (this.declares ? declareQueue(channel, queue) : channel.checkQueue(queue.name))).queue;
    }
    const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false });
    for (const key of this.source.keys) await channel.bindQueue(queue, this.source.exchange, key);
    return queue;
  }

  /**
   * A consumer whose handlers are still busy with messages of an earlier channel, or with released ones,
   * does not listen: it would be handed more than its prefetch.
   */
  private async listen(consumer: Consumer): Promise<void> {
    const { channel } = this;
    if (!channel || this.stopped || consumer.tag || consumer.underWay > 0) return;
    const consumerTag = `${process.pid}-${++this.tags}`;
    consumer.tag = consumerTag;
    // On failure the channel is closed too, and that is what heals.
    await channel
      .consume(this.queue, (message) => this.receive(consumer, channel, message), {
        consumerTag,
        noAck: !this.acknowledges,
      })
      .catch(() => undefined);
  }

  private async silence(consumer: Consumer): Promise<void> {
    const { tag } = consumer;
    consumer.tag = undefined;
    if (tag && this.channel) await patiently(this.channel.cancel(tag));
  }

  private receive(consumer: Consumer, channel: Channel, message: ConsumeMessage | null): void {
    if (!message) return this.lost(channel, 'the broker ended the consumer, its queue may have been deleted');
    if (message.fields.consumerTag !== consumer.tag) return this.settle(channel, message, 'requeue');
    void this.handle(consumer, channel, message);
  }

  private async handle(consumer: Consumer, channel: Channel, message: ConsumeMessage): Promise<void> {
    consumer.underWay++;
    this.underWay.next(this.underWay.value + 1);
    let released = false;
    const release = async () => {
      if (released) return;
      released = true;
      await this.silence(consumer);
      this.settle(channel, message, 'ack');
    };
    const drawAnother = () => this.draw(channel);
    const settlement = await this.decide({ message: this.raw(message), release, drawAnother });
    if (!released) this.settle(channel, message, settlement);
    consumer.underWay--;
    this.underWay.next(this.underWay.value - 1);
    void this.listen(consumer);
    this.closeWhenIdle();
  }

  private async decide(delivery: Delivery): Promise<Settlement> {
    try {
      return await this.handler(delivery);
    } catch (error) {
      this.logger.error(`${this.describe()}: a handler failed on a message: ${(error as Error)?.message}`);
      return 'dead-letter';
    }
  }

  private async draw(channel: Channel): Promise<boolean> {
    try {
      return Boolean(await channel.get(this.queue, { noAck: true }));
    } catch {
      // The channel is gone.
      return false;
    }
  }

  private raw({ properties, fields, content }: ConsumeMessage): RawMessage {
    const replyTo: string | undefined = properties.replyTo;
    return {
      type: properties.type ?? '',
      content,
      headers: properties.headers ?? {},
      reply: replyTo ? (answer) => this.reply(replyTo, properties.correlationId, answer) : undefined,
      redelivered: fields.redelivered,
    };
  }

  private lost(channel: Channel, why: string): void {
    if (this.channel !== channel) return;
    this.channel = null;
    for (const consumer of this.consumers) consumer.tag = undefined;
    void closeChannel(channel);
    // A lost connection has been logged, and the next one opens the channel.
    if (!this.stopped && this.connection.model.value) this.failed(why);
  }

  private failed(why: string): void {
    if (this.stopped || !this.connection.model.value) return;
    this.logger.warn(`${this.describe()}: ${why}; consuming again in ${this.retryMs} ms`);
    this.openIn(this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, LAST_RETRY_MS);
  }

  private closeWhenIdle(): void {
    if (!this.stopped || this.underWay.value > 0 || !this.channel) return;
    this.closing ??= closeChannel(this.channel);
  }

  /**
   * A private queue goes away with its consumer: there is nowhere to take a message back to, and nothing to gain
   * from acknowledging each.
   */
  private get acknowledges(): boolean {
    return 'queue' in this.source;
  }

  private settle(channel: Channel, message: ConsumeMessage, settlement: Settlement): void {
    if (!this.acknowledges) return;
    try {
      if (settlement === 'ack') channel.ack(message);
      else channel.nack(message, false, settlement === 'requeue');
    } catch {
      // The channel is gone, and the broker has taken the message back.
    }
  }

  private describe(): string {
    return 'queue' in this.source ? this.source.queue.name : this.source.exchange;
  }
}
