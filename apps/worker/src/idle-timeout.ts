import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import { Attempts } from './attempts.js';
import { Drain } from './drain.js';
import { SETTINGS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

/** A timer takes no more milliseconds than this. */
const LONGEST_MS = 2 ** 31 - 1;

/** Has a worker stop that has had nothing to do for a while (`--idle-timeout`). */
@Injectable()
export class IdleTimeout implements OnApplicationShutdown {
  private timer?: NodeJS.Timeout;

  constructor(
    @Inject(SETTINGS) private readonly settings: WorkerSettings,
    private readonly attempts: Attempts,
    private readonly drain: Drain,
  ) {}

  /** From when on there could have been something to do. */
  start(): void {
    const { idleTimeout } = this.settings;
    if (idleTimeout !== undefined) this.wait(idleTimeout, idleTimeout);
  }

  onApplicationShutdown(): void {
    clearTimeout(this.timer);
  }

  private wait(seconds: number, timeout: number): void {
    this.timer = setTimeout(() => this.look(timeout), Math.min(seconds * 1000, LONGEST_MS));
  }

  private look(timeout: number): void {
    const left = timeout - this.attempts.idleSeconds;
    if (left > 0) this.wait(left, timeout);
    else this.drain.ask(`it has had nothing to do for ${timeout} s`, Infinity);
  }
}
