import { Inject, Injectable, Logger } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { ChannelServer } from '#shared/channel/channel-server.js';
import { Attempts } from './attempts.js';
import { Recovery } from './recovery.js';
import { ticketSubscription } from './subscriptions.js';
import { SETTINGS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

/** Brings a worker to its stop: no new claims, time for what runs, then the rest is handed back. */
@Injectable()
export class Drain {
  private readonly logger = new Logger('drain');
  private readonly patience = new AbortController();
  private started = false;

  constructor(
    @Inject(SETTINGS) private readonly settings: WorkerSettings,
    private readonly server: ChannelServer,
    private readonly attempts: Attempts,
    private readonly recovery: Recovery,
  ) {}

  /** No new attempt is begun. */
  get draining(): boolean {
    return this.started;
  }

  /** Aborted when what still runs has to end. */
  get over(): AbortSignal {
    return this.patience.signal;
  }

  /** Cuts the waiting short: what runs is killed and handed back now. */
  hurry(): void {
    this.patience.abort(new Error('the worker is told to stop at once'));
    for (const attempt of this.attempts.all()) attempt.kill();
  }

  /**
   * Resolves when no attempt is left. Not one of Nest's shutdown hooks: a Nest microservice closes its transport
   * before it calls them, and orders such as a cancel have to arrive until the end.
   */
  async drain(): Promise<void> {
    this.started = true;
    const queues = Object.keys(this.settings.queues).map(ticketSubscription);
    await Promise.all(queues.map((name) => this.server.stopConsuming(name)));
    const idle = Promise.all([...queues.map((name) => this.server.idle(name)), this.recovery.idle()]);
    const running = this.attempts.all().length;
    if (running > 0) this.logger.log(`${running} attempts get ${this.settings.drainTimeout} s to end`);
    await this.wait(idle);
    this.patience.abort(new Error('the time to drain is over'));
    for (const attempt of this.attempts.all()) attempt.end('drain');
    await idle;
  }

  private async wait(idle: Promise<unknown>): Promise<void> {
    const enough = new AbortController();
    const either = AbortSignal.any([enough.signal, this.over]);
    const time = pause(this.settings.drainTimeout * 1000, undefined, { signal: either }).catch(
      () => undefined,
    );
    await Promise.race([idle, time]);
    enough.abort();
  }
}
