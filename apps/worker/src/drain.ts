import { Inject, Injectable, Logger } from '@nestjs/common';
import { once, setMaxListeners } from 'node:events';
import { ChannelServer } from '#shared/channel/channel-server.js';
import { Attempts } from './attempts.js';
import { Recovery } from './recovery.js';
import { ticketSubscription } from './subscriptions.js';
import { SETTINGS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

/** A timer takes no more milliseconds than this. */
const LONGEST_MS = 2 ** 31 - 1;

/** Brings a worker to its stop: no new claims, time for what runs, then the rest is handed back. */
@Injectable()
export class Drain {
  private readonly logger = new Logger('drain');
  private readonly patience = new AbortController();
  private readonly timers: NodeJS.Timeout[] = [];
  private beginning = false;
  private resolveAsked!: () => void;
  private resolveQuiet!: () => void;

  /** Resolves when something else than a signal wants the worker to stop. */
  readonly asked = new Promise<void>((resolve) => (this.resolveAsked = resolve));
  /** Resolves when no more tickets come. */
  readonly quiet = new Promise<void>((resolve) => (this.resolveQuiet = resolve));

  constructor(
    @Inject(SETTINGS) private readonly settings: WorkerSettings,
    private readonly server: ChannelServer,
    private readonly attempts: Attempts,
    private readonly recovery: Recovery,
  ) {
    // Every claim listens.
    setMaxListeners(0, this.patience.signal);
  }

  /** No new attempt is begun. */
  get draining(): boolean {
    return this.beginning;
  }

  /** Aborted when what still runs has to end. */
  get over(): AbortSignal {
    return this.patience.signal;
  }

  /**
   * No new attempt is begun from now on; whoever made the worker closes it.
   * @param why as the end of a sentence, for the log
   * @param timeout seconds for what runs; Infinity for as long as it takes
   */
  ask(why: string, timeout = this.settings.drainTimeout): void {
    if (!this.beginning) this.logger.log(`The worker takes no more jobs: ${why}.`);
    this.beginning = true;
    this.limit(timeout);
    this.resolveAsked();
  }

  /** What runs gets that many seconds from now on; of several limits the first one counts. */
  limit(seconds: number): void {
    if (seconds === Infinity || this.over.aborted) return;
    const enough = () => this.patience.abort(new Error('the time to drain is over'));
    this.timers.push(setTimeout(enough, Math.min(seconds * 1000, LONGEST_MS)));
    const running = this.attempts.all().length;
    if (running > 0) this.logger.log(`${running} attempts get ${seconds} s to end`);
  }

  /** Cuts the waiting short: what runs is killed and handed back now. */
  hurry(): void {
    this.patience.abort(new Error('the worker is told to stop at once'));
    for (const attempt of this.attempts.all()) {
      // First: a tree that is killed while the broker still stops to send tickets must not count as the job's end.
      attempt.end('drain');
      attempt.kill();
    }
  }

  /**
   * Resolves when no attempt is left. Not one of Nest's shutdown hooks: a Nest microservice closes its transport
   * before it calls them, and orders such as a cancel have to arrive until the end.
   */
  async drain(): Promise<void> {
    this.beginning = true;
    const queues = Object.keys(this.settings.queues).map(ticketSubscription);
    await Promise.all(queues.map((name) => this.server.stopConsuming(name)));
    this.resolveQuiet();
    const idle = Promise.all([...queues.map((name) => this.server.idle(name)), this.recovery.idle()]);
    if (!this.over.aborted) await Promise.race([idle, once(this.over, 'abort')]);
    this.timers.forEach(clearTimeout);
    this.patience.abort(new Error('the time to drain is over'));
    for (const attempt of this.attempts.all()) attempt.end('drain');
    await idle;
  }
}
