import { Logger, type LoggerService } from '@nestjs/common';
import type { ChannelModel } from 'amqplib';
import { combineLatest, distinctUntilChanged, map, type Observable } from 'rxjs';
import {
  BrokerUnavailableError,
  type Broker,
  type BrokerStatus,
  type Consumption,
  type ConsumeOptions,
  type ConsumerHandler,
  type OutgoingMessage,
  type Source,
} from '../channel/broker.js';
import { declareQueue, declareTopology, withChannel } from './amqp-channels.js';
import { AmqpConnection, checkedAmqpUrl } from './amqp-connection.js';
import { AmqpConsumption } from './amqp-consumption.js';
import { AmqpPublisher } from './amqp-publisher.js';
import type { QueueDeclaration, Route } from './topology.js';

export interface AmqpBrokerOptions {
  /** amqp://user:password@host:5672/vhost, or amqps://... */
  readonly url: string;
  /** What RabbitMQ calls our connections, such as "labhand gateway". */
  readonly name: string;
  /**
   * Whether queues and exchanges are declared, which takes the right to `configure` them. A worker makes only the
   * queue that is its own, and waits for the others.
   */
  readonly declares?: boolean;
  readonly logger?: LoggerService;
}

/**
 * RabbitMQ over amqplib. Consuming and publishing have a connection each: RabbitMQ stops reading from those
 * that publish too much, and acks must not wait behind that.
 */
export class AmqpBroker implements Broker {
  readonly status: Observable<BrokerStatus>;
  private readonly logger: LoggerService;
  private readonly publisher: AmqpPublisher;
  private readonly publishing: AmqpConnection;
  private readonly consuming: AmqpConnection;
  private readonly consumptions = new Set<AmqpConsumption>();
  private readonly declares: boolean;
  private connecting?: Promise<void>;

  /** @throws {Error} the URL is not one of AMQP */
  constructor({ url, name, declares = true, logger = new Logger('AmqpBroker') }: AmqpBrokerOptions) {
    const amqpUrl = checkedAmqpUrl(url);
    this.logger = logger;
    this.declares = declares;
    const prepare = async (model: ChannelModel) => {
      if (declares) await declareTopology(model);
    };
    this.publisher = new AmqpPublisher((model) => this.publishing.renew(model));
    this.publishing = new AmqpConnection(amqpUrl, `${name}, publishing`, logger, async (model) => {
      await prepare(model);
      await this.publisher.open(model);
    });
    this.consuming = new AmqpConnection(amqpUrl, `${name}, consuming`, logger, prepare);
    this.status = combineLatest([this.publishing.model, this.consuming.model]).pipe(
      map((models): BrokerStatus => (models.every(Boolean) ? 'connected' : 'disconnected')),
      distinctUntilChanged(),
    );
  }

  /**
   * Goes on trying, with a warning each time, until RabbitMQ answers.
   * @throws {BrokerRefusedError} RabbitMQ answers, and refuses user, virtual host or a declaration
   */
  connect(): Promise<void> {
    this.connecting ??= this.publishing
      .connect()
      .then(() => this.consuming.connect())
      .catch(async (error: unknown) => {
        await this.close();
        throw error;
      });
    return this.connecting;
  }

  publish(route: Route, message: OutgoingMessage): Promise<void> {
    return this.publisher.publish(route, message);
  }

  request(route: Route, message: OutgoingMessage, timeoutMs: number): Promise<Buffer> {
    return this.publisher.request(route, message, timeoutMs);
  }

  async consume(source: Source, options: ConsumeOptions, handler: ConsumerHandler): Promise<Consumption> {
    const consumption = new AmqpConsumption(
      this.consuming,
      source,
      options,
      handler,
      (replyTo, correlationId, content) => this.publisher.reply(replyTo, correlationId, content),
      this.logger,
      this.declares,
    );
    this.consumptions.add(consumption);
    await consumption.listening;
    return consumption;
  }

  async depth(queue: QueueDeclaration): Promise<number> {
    const model = this.publishing.model.value;
    if (!model) throw new BrokerUnavailableError();
    try {
      // Declaring a queue that is there tells its depth; one that is missing is there from now on.
      const { messageCount } = await withChannel(model, (channel) => declareQueue(channel, queue));
      return messageCount;
    } catch (error) {
      throw new BrokerUnavailableError(error);
    }
  }

  /** Handlers under way are not waited for: `Consumption.idle` does that. Their messages go to somebody else. */
  async close(): Promise<void> {
    await Promise.all([...this.consumptions].map((consumption) => consumption.stop()));
    await this.publisher.close();
    await Promise.all([this.consuming.close(), this.publishing.close()]);
  }
}
