import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { Chore } from '../chore.js';
import { CallbackMessages } from './callback-messages.js';
import { CallbackSender, InterruptedError, type TryResult } from './callback-sender.js';
import { CallbackSettings } from './callback-settings.js';
import { DueDeliveries, type DueDelivery } from './due-deliveries.js';
import { verdict } from './retry-schedule.js';

/** After a fault on our side, not the receiver's. */
const OWN_FAULT_DELAY_SECONDS = 5;
const JOB_GONE: TryResult = { outcome: 'failed', error: 'the job is not there any more' };

/** The chore that makes the tries which are due; any number of gateways may do it at once. */
@Injectable()
export class Deliveries implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger('callbacks');
  private readonly chore: Chore;
  private readonly underWay = new Map<DueDelivery, Promise<void>>();

  constructor(
    private readonly due: DueDeliveries,
    private readonly messages: CallbackMessages,
    private readonly sender: CallbackSender,
    private readonly settings: CallbackSettings,
  ) {
    this.chore = new Chore('callbacks', settings.pauseMs, () => this.round());
  }

  onApplicationBootstrap(): void {
    this.start();
  }

  async onModuleDestroy(): Promise<void> {
    await this.stop();
  }

  start(): void {
    this.chore.start();
  }

  /** Deliveries have been committed: their first tries leave at once. */
  nudge(): void {
    this.chore.nudge();
  }

  /** Tries under way may end within the grace time; the others are handed back for another gateway. */
  async stop(): Promise<void> {
    await this.chore.stop();
    const patience = new AbortController();
    const ended = this.allEnded().then(() => patience.abort());
    await pause(this.settings.stopGraceMs, undefined, { signal: patience.signal }).catch(() => undefined);
    this.sender.close();
    await ended;
  }

  /** Begins what there is room for; the end of each try is a nudge. */
  private async round(): Promise<number | undefined> {
    const { parallel, parallelPerHost, holdMs } = this.settings;
    const room = parallel - this.underWay.size;
    if (room === 0) return;
    const taken = await this.due.take({ room, perHost: parallelPerHost, busy: this.busyHosts(), holdMs });
    for (const delivery of taken) this.begin(delivery);
    return taken.length === room ? undefined : this.due.msUntilNext();
  }

  private begin(delivery: DueDelivery): void {
    const ended = this.makeTry(delivery)
      .catch((error: Error) => this.handBack(delivery, error))
      .finally(() => {
        this.underWay.delete(delivery);
        this.chore.nudge();
      });
    this.underWay.set(delivery, ended);
  }

  private async makeTry(delivery: DueDelivery): Promise<void> {
    const message = await this.messages.messageOf(delivery);
    const result = message ? await this.sender.send(message) : JOB_GONE;
    const next = verdict(result, delivery.tries, this.settings.retryDelays);
    await this.due.record(delivery, result, next);
    if (result.outcome === 'gone') await this.due.giveUpOn(delivery.url, delivery.host);
    this.log(delivery, result, next.state);
  }

  private async handBack(delivery: DueDelivery, error: Error): Promise<void> {
    const interrupted = error instanceof InterruptedError;
    if (!interrupted) this.logger.error(`delivery ${delivery.id} could not be tried`, error.stack);
    // Where this fails as well, the try comes back when its hold is over.
    await this.due
      .handBack(delivery, interrupted ? 0 : OWN_FAULT_DELAY_SECONDS)
      .catch((again: Error) =>
        this.logger.error(`delivery ${delivery.id} could not be handed back`, again.stack),
      );
  }

  /** No address but the host, and nothing of what was said: both may hold secrets. */
  private log({ id, host, tries }: DueDelivery, result: TryResult, state: string): void {
    const line = `delivery ${id} to ${host}: try ${tries}, ${result.status ?? 'no answer'}, ${state}`;
    if (state === 'failed') this.logger.warn(line);
    else this.logger.debug(line);
  }

  private busyHosts(): Record<string, number> {
    const busy: Record<string, number> = {};
    for (const { host } of this.underWay.keys()) busy[host] = (busy[host] ?? 0) + 1;
    return busy;
  }

  private async allEnded(): Promise<void> {
    while (this.underWay.size > 0) await Promise.all(this.underWay.values());
  }
}
