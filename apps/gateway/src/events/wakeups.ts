import { Inject, Injectable, Logger } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { EVENTS_EXCHANGE, WRITTEN_EXCHANGE } from '#shared/amqp/topology.js';
import { BROKER, type Broker, type RawMessage } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { decodeMessage } from '#shared/channel/envelope.js';
import type { JobEvent, MessageBody } from '#shared/messages/messages.js';
import { Ear } from './ear.js';

/** A wakeup may get lost on its way; followers look again this often all the same. */
const LOOK_AGAIN_MS = 2000;
const ANY_EVENT = 'any event';

/**
 * Wakes those who follow something when there may be more of it to read, in whichever gateway it came. It says
 * nothing else: what there is stands in the database, so that no wakeup has to arrive.
 */
@Injectable()
export class Wakeups {
  private readonly logger = new Logger(Wakeups.name);
  private readonly emitter = new EventEmitter().setMaxListeners(0);
  private readonly gateway = randomUUID();
  private readonly ear: Ear;

  constructor(
    @Inject(BROKER) broker: Broker,
    private readonly channel: ChannelClient,
  ) {
    const sources = [EVENTS_EXCHANGE, WRITTEN_EXCHANGE].map(({ name }) => ({ exchange: name, keys: ['#'] }));
    this.ear = new Ear(broker, sources, (message) => this.heard(message));
  }

  /** Logs have grown, and this gateway has recorded it. */
  written(jobIds: ReadonlySet<string>): void {
    for (const jobId of jobIds) this.emitter.emit(jobId);
    this.channel.tell('written', { gateway: this.gateway, jobIds: [...jobIds] }).catch((error: Error) => {
      this.logger.debug(`other gateways were not told of written logs: ${error.message}`);
    });
  }

  /** A job has moved. */
  moved(jobId: string): void {
    this.emitter.emit(jobId);
    this.emitter.emit(ANY_EVENT);
  }

  /** @param jobId undefined for the events of all jobs */
  follow(jobId: string | undefined): Wakeup {
    return new Wakeup(this.emitter, jobId ?? ANY_EVENT, this.ear.listen());
  }

  private heard(message: RawMessage): void {
    const body = decodeMessage(message);
    if (message.type === 'event') this.moved((body as JobEvent).jobId);
    else this.heardWritten(body as MessageBody<'written'>);
  }

  private heardWritten({ gateway, jobIds }: MessageBody<'written'>): void {
    if (gateway === this.gateway) return;
    for (const jobId of jobIds) this.emitter.emit(jobId);
  }
}

/** One follower's ear: what happens while it reads is not missed. */
export class Wakeup {
  private woken = false;
  private readonly wake = () => {
    this.woken = true;
    this.stopWaiting?.();
  };
  private stopWaiting?: () => void;

  constructor(
    private readonly emitter: EventEmitter,
    private readonly name: string,
    private readonly onClose: () => void,
  ) {
    emitter.on(name, this.wake);
  }

  /** Resolves when there may be something new since the last time, when it is time to look, or with the signal. */
  async next(signal: AbortSignal, ms = LOOK_AGAIN_MS): Promise<void> {
    if (!this.woken && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener('abort', this.wake);
        this.stopWaiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      signal.removeEventListener('abort', this.wake);
    }
    this.woken = false;
  }

  close(): void {
    this.emitter.off(this.name, this.wake);
    this.onClose();
  }
}
