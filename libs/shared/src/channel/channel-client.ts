import { ClientProxy, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { ROUTES } from '../amqp/topology.js';
import {
  REPLIES,
  type MessageBody,
  type MessageType,
  type Reply,
  type RequestType,
} from '../messages/messages.js';
import type { Broker } from './broker.js';
import { Bundler } from './bundler.js';
import { decodeAnswer, decodeAnswers, encodeBundle, encodeMessage, type Answer } from './envelope.js';

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

/** What every job asks, and the gateway answers at once: those of busy slots go together. */
const BUNDLED: readonly RequestType[] = ['claim', 'finished'];

interface Request {
  readonly body: MessageBody<RequestType>;
  readonly timeoutMs: number;
}

/** Sends our messages. `tell` and `ask` know their types; the ways of Nest's ClientProxy work too. */
export class ChannelClient extends ClientProxy {
  private readonly bundlers = new Map<MessageType, Bundler<Request, Answer>>(
    BUNDLED.map((type) => [type, new Bundler((requests) => this.requestAll(type, requests))]),
  );

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
    const bundler = traceparent || to ? undefined : this.bundlers.get(type);
    const answer = bundler
      ? await bundler.ask({ body, timeoutMs })
      : decodeAnswer(
          await this.broker.request(
            ROUTES[type](body, to),
            encodeMessage(type, body, traceparent),
            timeoutMs,
          ),
        );
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

  /** Several requests as one message. */
  private async requestAll<T extends RequestType>(type: T, requests: readonly Request[]): Promise<Answer[]> {
    const bodies = requests.map((request) => request.body as MessageBody<T>);
    const timeoutMs = Math.max(...requests.map((request) => request.timeoutMs));
    const route = ROUTES[type](bodies[0]!);
    if (bodies.length === 1) {
      return [decodeAnswer(await this.broker.request(route, encodeMessage(type, bodies[0]!), timeoutMs))];
    }
    const answers = decodeAnswers(await this.broker.request(route, encodeBundle(type, bodies), timeoutMs));
    if (answers.length !== bodies.length)
      throw new Error(`the answer to ${type} is not for all that was asked`);
    return answers;
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
