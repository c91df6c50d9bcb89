import { Logger, type LoggerService } from '@nestjs/common';
import { BehaviorSubject, distinctUntilChanged } from 'rxjs';
import { FIXED_QUEUES, type QueueDeclaration, type Route } from '../amqp/topology.js';
import {
  BrokerUnavailableError,
  RequestTimeoutError,
  UnroutableError,
  type Broker,
  type BrokerStatus,
  type Consumption,
  type ConsumeOptions,
  type ConsumerHandler,
  type OutgoingMessage,
  type Source,
} from './broker.js';
import { InProcessConsumption } from './in-process-consumption.js';
import { InProcessQueue, type QueuedMessage } from './in-process-queue.js';

interface Binding {
  readonly exchange: string;
  readonly key: RegExp;
  readonly queue: InProcessQueue;
}

/**
 * The broker of a gateway and workers that live in one process. Messages pass as bytes, and never within the
 * call that sends them, so everything above behaves as it does over RabbitMQ; only nothing is kept on disk.
 */
export class InProcessBroker implements Broker {
  private readonly connection = new BehaviorSubject<BrokerStatus>('disconnected');
  readonly status = this.connection.pipe(distinctUntilChanged());
  private readonly queues = new Map<string, InProcessQueue>();
  private readonly bindings = new Set<Binding>();
  private readonly consumptions = new Set<InProcessConsumption>();
  private readonly requests = new Set<(error: Error) => void>();

  constructor(private readonly logger: LoggerService = new Logger('InProcessBroker')) {}

  async connect(): Promise<void> {
    FIXED_QUEUES.forEach((queue) => this.declare(queue));
    this.connection.next('connected');
  }

  async publish(route: Route, message: OutgoingMessage): Promise<void> {
    const taken = this.route(route, message);
    if (route.confirmed && !taken) throw new UnroutableError(route);
  }

  request(route: Route, message: OutgoingMessage, timeoutMs: number): Promise<Buffer> {
    let timer: NodeJS.Timeout;
    let fail: (error: Error) => void;
    return new Promise<Buffer>((resolve, reject) => {
      fail = reject;
      this.requests.add(fail);
      timer = setTimeout(() => reject(new RequestTimeoutError(message.type, timeoutMs)), timeoutMs);
      const taken = this.route(route, message, (answer) => setImmediate(() => resolve(answer)));
      if (!taken) reject(new UnroutableError(route));
    }).finally(() => {
      clearTimeout(timer);
      this.requests.delete(fail);
    });
  }

  async consume(source: Source, options: ConsumeOptions, handler: ConsumerHandler): Promise<Consumption> {
    this.checkConnected();
    const { queue, forget } = this.open(source);
    const consumption = new InProcessConsumption(queue, options, handler, this.logger, forget);
    this.consumptions.add(consumption);
    return consumption;
  }

  async depth(queue: QueueDeclaration): Promise<number> {
    this.checkConnected();
    return this.declare(queue).depth();
  }

  async close(): Promise<void> {
    this.connection.next('disconnected');
    await Promise.all([...this.consumptions].map((consumption) => consumption.stop()));
    for (const fail of this.requests) fail(new BrokerUnavailableError());
    this.connection.complete();
  }

  private checkConnected(): void {
    if (this.connection.value !== 'connected') throw new BrokerUnavailableError();
  }

  private declare(declaration: QueueDeclaration): InProcessQueue {
    const known = this.queues.get(declaration.name);
    if (known) return known;
    const queue = new InProcessQueue(declaration, (message, key) => this.queues.get(key)?.push(message));
    this.queues.set(declaration.name, queue);
    return queue;
  }

  /** The queue of a source; `forget` is called when its consumers have stopped. */
  private open(source: Source): { queue: InProcessQueue; forget: () => void } {
    if ('queue' in source) return { queue: this.declare(source.queue), forget: () => undefined };
    const queue = new InProcessQueue({ name: source.exchange, durable: false, arguments: {} });
    const bindings = source.keys.map((key) => ({ exchange: source.exchange, key: topicPattern(key), queue }));
    bindings.forEach((binding) => this.bindings.add(binding));
    return { queue, forget: () => bindings.forEach((binding) => this.bindings.delete(binding)) };
  }

  /** @returns whether a queue took the message */
  private route(route: Route, message: OutgoingMessage, reply?: QueuedMessage['reply']): boolean {
    this.checkConnected();
    if (route.declare) this.declare(route.declare);
    const queues = this.targets(route);
    const { type, content, headers = {} } = message;
    for (const queue of queues) queue.push({ type, content, headers, reply });
    return queues.size > 0;
  }

  private targets({ exchange, key }: Route): Set<InProcessQueue> {
    if (exchange === '') return new Set(this.queues.has(key) ? [this.queues.get(key)!] : []);
    const bound = [...this.bindings].filter(
      (binding) => binding.exchange === exchange && binding.key.test(`.${key}`),
    );
    return new Set(bound.map(({ queue }) => queue));
  }
}

/** Matches routing keys with a dot in front: `*` stands for one word, `#` for any number, none included. */
function topicPattern(key: string): RegExp {
  const words = key.split('.').map((word) => {
    if (word === '#') return '(?:\\.[^.]*)*';
    if (word === '*') return '\\.[^.]*';
    return `\\.${word.replace(/[^\w]/g, '\\$&')}`;
  });
  return new RegExp(`^${words.join('')}$`);
}
