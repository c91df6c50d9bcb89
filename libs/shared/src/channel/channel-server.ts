import { Server, type CustomTransportStrategy } from '@nestjs/microservices';
import { isObservable, lastValueFrom, type Subscription as StatusSubscription } from 'rxjs';
import type {
  Broker,
  BrokerStatus,
  Consumption,
  Delivery,
  RawMessage,
  Settlement,
  Source,
} from './broker.js';
import { ChannelContext } from './channel-context.js';
import {
  checkBody,
  decodeBundle,
  decodeMessage,
  encodeAnswer,
  encodeAnswers,
  isBundle,
  type Answer,
} from './envelope.js';

/** What a server listens to; the name is for `stopConsuming` and for the log. */
export interface Subscription {
  readonly name: string;
  readonly source: Source;
  readonly consumers: number;
  readonly prefetch: number;
}

export interface ChannelServerOptions {
  /** Milliseconds that `close` waits for handlers under way. */
  readonly drainMs?: number;
}

type Handler = NonNullable<ReturnType<Server['getHandlerByPattern']>>;

const DEFAULT_DRAIN_MS = 10_000;

/**
 * Nest's view of a broker: a message's type is the pattern, `@MessagePattern` methods answer requests,
 * `@EventPattern` methods take the rest. What cannot be understood is dead-lettered and never reaches a handler.
 *
 * An event whose handler throws is dead-lettered, or requeued when the error has `requeue: true`. A request whose
 * handler throws is answered with the error.
 */
export class ChannelServer extends Server implements CustomTransportStrategy {
  override readonly transportId = Symbol.for('labhand.channel');
  /** We wait for event handlers and log what they throw. */
  override readonly propagatesEventHandlerErrors = true;
  private readonly consumptions = new Map<string, Consumption>();
  private readonly handlers = new Map<string, Handler>();
  private statusWatch?: StatusSubscription;

  constructor(
    private readonly broker: Broker,
    private readonly subscriptions: readonly Subscription[],
    private readonly options: ChannelServerOptions = {},
  ) {
    super();
  }

  async listen(callback: (error?: unknown) => void): Promise<void> {
    try {
      this.statusWatch = this.broker.status.subscribe((status: BrokerStatus) => this._status$.next(status));
      await this.broker.connect();
      for (const subscription of this.subscriptions) await this.subscribe(subscription);
      callback();
    } catch (error) {
      callback(error);
    }
  }

  /** No new message of this subscription reaches a handler after this resolves. */
  async stopConsuming(name: string): Promise<void> {
    await this.consumptions.get(name)?.stop();
  }

  /** Resolves when no handler is busy with a message of this subscription. */
  async idle(name: string): Promise<void> {
    await this.consumptions.get(name)?.idle();
  }

  /** Stops consuming and waits for the handlers, up to the drain time; the broker stays open. */
  async close(): Promise<void> {
    const consumptions = [...this.consumptions.values()];
    await Promise.all(consumptions.map((consumption) => consumption.stop()));
    const idle = Promise.all(consumptions.map((consumption) => consumption.idle())).then(() => true);
    const { drainMs = DEFAULT_DRAIN_MS } = this.options;
    if (!(await withinTime(idle, drainMs))) {
      this.logger.warn(`handlers were still busy ${drainMs} ms after the server stopped to listen`);
    }
    this.statusWatch?.unsubscribe();
  }

  on(): never {
    throw new Error('the channel has no events of its own; watch its status');
  }

  unwrap<T>(): T {
    return this.broker as T;
  }

  private async subscribe({ name, source, consumers, prefetch }: Subscription): Promise<void> {
    const handle = (delivery: Delivery) => this.receive(name, delivery);
    this.consumptions.set(name, await this.broker.consume(source, { consumers, prefetch }, handle));
  }

  private async receive(name: string, delivery: Delivery): Promise<Settlement> {
    const { message } = delivery;
    try {
      const context = new ChannelContext(delivery);
      if (isBundle(message)) return await this.bundle(name, message, context);
      const body = decodeMessage(message);
      const handler = this.handlerOf(message);
      const run = () => this.run(handler, body, context);
      if (handler.isEventHandler) return this.event(name, message, run);
      const answer = await this.answer(name, message, run);
      message.reply?.(encodeAnswer(answer));
      return 'ack';
    } catch (error) {
      const reason = (error as Error).message;
      this.logger.warn(`${name}: a message of type "${message.type.slice(0, 50)}" is refused: ${reason}`);
      message.reply?.(encodeAnswer(refusal(error)));
      return 'dead-letter';
    }
  }

  /** Handled at the same time, answered together; one that cannot be understood leaves the others alone. */
  private async bundle(name: string, message: RawMessage, context: ChannelContext): Promise<Settlement> {
    const { type, bodies } = decodeBundle(message);
    const handler = this.handlerOf(message);
    if (handler.isEventHandler) throw new Error('only requests come in bundles');
    const answers = await Promise.all(
      bodies.map((body) =>
        this.answer(name, message, async () => this.run(handler, checkBody(type, body), context)),
      ),
    );
    message.reply?.(encodeAnswers(answers));
    return 'ack';
  }

  /** Nest tries to read every pattern as JSON, which for a plain name means an exception: asked once for each type. */
  private handlerOf({ type }: RawMessage): Handler {
    const handler = this.handlers.get(type) ?? this.getHandlerByPattern(type);
    if (!handler) throw new Error('nothing here handles this type');
    this.handlers.set(type, handler);
    return handler;
  }

  private async event(name: string, { type }: RawMessage, run: () => Promise<unknown>): Promise<Settlement> {
    try {
      await run();
      return 'ack';
    } catch (error) {
      if ((error as { requeue?: unknown })?.requeue === true) {
        this.logger.debug?.(`${name}: ${type} goes back to its queue: ${messageOf(error)}`);
        return 'requeue';
      }
      this.logger.error(`${name}: ${type} failed (dead-letter): ${messageOf(error)}`, stackOf(error));
      return 'dead-letter';
    }
  }

  private async answer(name: string, { type }: RawMessage, run: () => Promise<unknown>): Promise<Answer> {
    try {
      return { response: (await run()) ?? null };
    } catch (error) {
      this.logger.error(`${name}: ${type} is answered with an error: ${messageOf(error)}`, stackOf(error));
      const code = (error as { code?: unknown })?.code;
      return { error: messageOf(error), code: typeof code === 'string' ? code : undefined };
    }
  }

  /** Between the hooks that Nest hands to its instrumentation. */
  private async run(handler: Handler, body: unknown, context: ChannelContext): Promise<unknown> {
    let outcome: Promise<unknown> | undefined;
    await new Promise<void>((done) => {
      this.onProcessingStartHook(this.transportId, context, async () => {
        outcome = resultOf(handler, body, context);
        await outcome.catch(() => undefined);
        this.onProcessingEndHook?.(this.transportId, context);
        done();
      });
    });
    return outcome;
  }
}

function refusal(error: unknown): Answer {
  return { error: `the message is refused: ${messageOf(error)}`, code: 'refused_message' };
}

async function resultOf(handler: Handler, body: unknown, context: ChannelContext): Promise<unknown> {
  const result: unknown = await handler(body, context);
  return isObservable(result) ? lastValueFrom(result, { defaultValue: null }) : result;
}

async function withinTime(done: Promise<boolean>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  return Promise.race([done, late]).finally(() => clearTimeout(timer));
}

function messageOf(error: unknown): string {
  const message = (error as { message?: unknown } | null)?.message;
  return typeof message === 'string' ? message : String(error);
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}
