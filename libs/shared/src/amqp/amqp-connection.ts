import type { Writable } from 'node:stream';
import type { LoggerService } from '@nestjs/common';
import { connect, type ChannelModel, type RecoveringChannelModel } from 'amqplib';
import { BehaviorSubject } from 'rxjs';
import { patiently } from './amqp-channels.js';
import { gatherWrites } from './gathered-writes.js';

const HEARTBEAT_SECONDS = 10;
const CONNECT_TIMEOUT_MS = 10_000;
const RETRY = { initialDelay: 200, maxDelay: 5_000 };

/** Asking again does not help before somebody has changed the rights. */
const REFUSALS = /ACCESS[-_]REFUSED/;

export class BrokerRefusedError extends Error {
  constructor(cause: Error) {
    super(
      `RabbitMQ refused us (${cause.message}); expected a user that may log in and declare what is named ` +
        'labhand.*: check user and password of the AMQP URL, and the rights of the user',
      { cause },
    );
  }
}

/**
 * One connection to RabbitMQ which comes back by itself. `prepare` runs on each new connection before anybody
 * sees it; when it fails, the connection is made again.
 */
export class AmqpConnection {
  /** The connection as it is now, null while there is none. */
  readonly model = new BehaviorSubject<ChannelModel | null>(null);
  private recovering?: RecoveringChannelModel;
  private closed = false;

  constructor(
    private readonly url: string,
    private readonly name: string,
    private readonly logger: LoggerService,
    private readonly prepare: (model: ChannelModel) => Promise<void>,
  ) {}

  /**
   * Tries until it succeeds.
   * @throws {BrokerRefusedError} the user may not do this
   * @throws {Error} closed meanwhile
   */
  async connect(): Promise<void> {
    const recovering = await connect(this.url, {
      noDelay: true,
      keepAlive: true,
      timeout: CONNECT_TIMEOUT_MS,
      clientProperties: { connection_name: this.name },
      recovery: { ...RETRY, waitForConnect: false, setup: (model: ChannelModel) => this.setUp(model) },
    });
    this.recovering = recovering;
    if (this.closed) await recovering.close();
    let refused: BrokerRefusedError | undefined;
    let connectedOnce = false;
    recovering.on('error', () => undefined);
    recovering.on('connect', (model: ChannelModel) => {
      connectedOnce = true;
      this.model.next(model);
    });
    recovering.on('disconnect', (error) => {
      this.model.next(null);
      this.logger.warn(`${this.name}: lost the connection to RabbitMQ (${error.message}), connecting again`);
    });
    recovering.on('connect-failed', (error) => {
      if (!connectedOnce && REFUSALS.test(error.message)) {
        refused = new BrokerRefusedError(error);
        void recovering.close();
      } else
        this.logger.warn(`${this.name}: RabbitMQ cannot be used yet (${this.explain(error)}), trying again`);
    });
    await recovering.waitForConnect().catch((error: unknown) => {
      throw refused ?? error;
    });
  }

  /** Breaks `model` off if it still stands; a new one comes as after any other loss. */
  renew(model: ChannelModel): void {
    setImmediate(() => {
      if (this.model.value === model) model.close().catch(() => undefined);
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    if (!this.recovering) return;
    const model = this.model.value;
    const gone = new Promise<void>((resolve) => model?.once('close', () => resolve()));
    await patiently(Promise.race([this.recovering.close(), gone]));
    socketOf(model)?.destroy();
    this.model.next(null);
    this.model.complete();
  }

  /** amqplib drops what RabbitMQ says about a virtual host, which it does instead of opening it. */
  private explain({ message }: Error): string {
    if (!message.startsWith('Expected ConnectionOpenOk')) return message;
    const vhost = decodeURIComponent(new URL(this.url).pathname.slice(1)) || '/';
    return `it does not open the virtual host "${vhost}", which may be missing or closed to this user`;
  }

  private async setUp(model: ChannelModel): Promise<void> {
    let lost: Error | undefined;
    // amqplib listens only after this, and would neither hear an error nor a close until then.
    model.on('error', () => undefined);
    model.on('close', (error) => (lost = error ?? new Error('the connection was closed')));
    const socket = socketOf(model);
    if (socket) gatherWrites(socket);
    await this.prepare(model);
    if (lost) throw lost;
  }
}

/**
 * The URL with the heartbeat that we want, checked.
 * @throws {Error} it is not an AMQP URL; the message does not repeat it, it may hold a password
 */
export function checkedAmqpUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed?.hostname || !['amqp:', 'amqps:'].includes(parsed.protocol)) {
    throw new Error(
      'the AMQP URL cannot be used: expected amqp://user:password@host:5672/vhost or amqps://..., ' +
        (parsed ? `got one that begins with "${parsed.protocol}"` : 'got something that is no URL'),
    );
  }
  if (!parsed.searchParams.has('heartbeat')) parsed.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS));
  return parsed.href;
}

function socketOf(model: ChannelModel | null): Writable | undefined {
  return (model?.connection as { stream?: Writable } | undefined)?.stream;
}
