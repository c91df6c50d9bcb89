import { ClientProxy, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { ROUTES } from '../amqp/topology.js';
import {
  REPLIES,
  type MessageBody,
  type MessageType,
  type Reply,
  type RequestType,
} from '../messages/messages.js';
import type { Broker, OutgoingMessage } from './broker.js';
import { decodeAnswer, encodeMessage } from './envelope.js';

export interface TellOptions {
  /** W3C trace context to go with the message. */
  readonly traceparent?: string;
}

export interface AskOptions extends TellOptions {
  readonly timeoutMs: number;
  /** The worker of a control message. */
  readonly to?: string;
}

/** The handler at the other end failed; `message` is what it said. */
export class RemoteError extends Error {
  constructor(
    message: string,
    readonly code?: string,
  ) {
    super(message);
  }
}

const DEFAULT_ANSWER_MS = 10_000;

/** Sends our messages. `tell` and `ask` know their types; the ways of Nest's ClientProxy work too. */
export class ChannelClient extends ClientProxy {
  constructor(private readonly broker: Broker) {
    super();
    broker.status.subscribe((status) => this._status$.next(status));
  }

  /**
   * Sends a message that nobody answers; `to` is the worker of a control message.
   * @throws {UnroutableError | BrokerUnavailableError} see `Broker.publish`
   */
  async tell<T extends MessageType>(
    type: T,
    body: MessageBody<T>,
    to?: string,
    { traceparent }: TellOptions = {},
  ): Promise<void> {
    await this.broker.publish(ROUTES[type](body, to), encodeMessage(type, body, traceparent));
  }

  /**
   * Sends a request and waits for its answer.
   * @throws {RemoteError} the handler failed
   * @throws {RequestTimeoutError | BrokerUnavailableError} see `Broker.request`
   */
  async ask<T extends RequestType>(
    type: T,
    body: MessageBody<T>,
    { timeoutMs, traceparent, to }: AskOptions,
  ): Promise<Reply<T>> {
    const message: OutgoingMessage = encodeMessage(type, body, traceparent);
    const answer = decodeAnswer(await this.broker.request(ROUTES[type](body, to), message, timeoutMs));
    if ('error' in answer) throw new RemoteError(answer.error, answer.code);
    const reply = REPLIES[type].safeParse(answer.response);
    if (!reply.success) throw new Error(`the answer to ${type} has another shape than this version expects`);
    return reply.data as Reply<T>;
  }

  connect(): Promise<void> {
    return this.broker.connect();
  }

  /** Nothing to do: whoever made the broker closes it. */
  close(): void {}

  unwrap<T>(): T {
    return this.broker as T;
  }

  protected publish(packet: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    const traceparent = packet.metadata?.traceparent;
    this.ask(packet.pattern, packet.data, { timeoutMs: DEFAULT_ANSWER_MS, traceparent }).then(
      (response) => callback({ response, isDisposed: true }),
      (err: unknown) => callback({ err, isDisposed: true }),
    );
    return () => undefined;
  }

  protected async dispatchEvent<T>({ pattern, data, metadata }: ReadPacket): Promise<T> {
    await this.tell(pattern as MessageType, data, undefined, { traceparent: metadata?.traceparent });
    return undefined as T;
  }
}
