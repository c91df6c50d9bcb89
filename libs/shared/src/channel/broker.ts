import type { Observable } from 'rxjs';
import type { QueueDeclaration, Route } from '../amqp/topology.js';

/**
 * What gateway and worker need of a message broker. Two implementations, RabbitMQ and in-process, pass one
 * conformance suite; the Nest server and client above them are the same for both.
 */

/** A message as it lies in a queue: nothing of it has been checked yet. */
export interface RawMessage {
  readonly type: string;
  readonly content: Buffer;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Where an answer is expected, if one is. */
  readonly reply?: (content: Buffer) => void;
  readonly redelivered: boolean;
}

/** What becomes of a message; only the broker acts on it. */
export type Settlement = 'ack' | 'requeue' | 'dead-letter';

export interface Delivery {
  readonly message: RawMessage;
  /**
   * Lets go of the message before the handler is done: the consumer stops, the message is acked, and the
   * consumer listens again when the handler has settled. For work longer than a broker's patience.
   */
  release(): Promise<void>;
  /**
   * Takes one more message out of the same queue, unseen.
   * @returns false when there was none, or when nobody could be asked
   */
  drawAnother(): Promise<boolean>;
}

export type ConsumerHandler = (delivery: Delivery) => Promise<Settlement>;

/** A named queue shared by all who consume it, or a private one bound to a topic exchange. */
export type Source =
  { readonly queue: QueueDeclaration } | { readonly exchange: string; readonly keys: readonly string[] };

export interface ConsumeOptions {
  /** How many consumers; each gets at most `prefetch` unsettled messages. */
  readonly consumers: number;
  readonly prefetch: number;
}

export interface Consumption {
  /** No new message is handed out after this resolves; those under way go on to be settled. */
  stop(): Promise<void>;
  /** Resolves when every handler that was under way has settled. */
  idle(): Promise<void>;
}

export interface OutgoingMessage {
  readonly type: string;
  readonly content: Buffer;
  readonly headers?: Readonly<Record<string, string | number>>;
}

export type BrokerStatus = 'connected' | 'disconnected';

export interface Broker {
  /** Current status first, then each change. */
  readonly status: Observable<BrokerStatus>;
  /** Resolves once the topology stands; from then on a lost connection is mended without being asked. */
  connect(): Promise<void>;
  /**
   * @throws {UnroutableError} confirmed, and no queue took it
   * @throws {BrokerUnavailableError} no connection, or lost before the broker had it
   */
  publish(route: Route, message: OutgoingMessage): Promise<void>;
  /**
   * Sends and waits for the one answer.
   * @throws {RequestTimeoutError} no answer within `timeoutMs`
   * @throws {UnroutableError} no queue took it
   * @throws {BrokerUnavailableError}
   */
  request(route: Route, message: OutgoingMessage, timeoutMs: number): Promise<Buffer>;
  /** Consumes until stopped; survives reconnects, deleted queues and closed channels. */
  consume(source: Source, options: ConsumeOptions, handler: ConsumerHandler): Promise<Consumption>;
  /** Messages in the queue that wait for a consumer. */
  depth(queue: QueueDeclaration): Promise<number>;
  close(): Promise<void>;
}

export class UnroutableError extends Error {
  constructor(route: Pick<Route, 'exchange' | 'key'>) {
    super(`no queue takes messages for ${route.exchange || 'the default exchange'} with key ${route.key}`);
  }
}

export class BrokerUnavailableError extends Error {
  constructor(cause?: unknown) {
    super('the message broker cannot be reached', { cause });
  }
}

export class RequestTimeoutError extends Error {
  constructor(type: string, timeoutMs: number) {
    super(`no answer to ${type} within ${timeoutMs} ms`);
  }
}

/** Injection token of the one broker of a process. */
export const BROKER = Symbol('Broker');
