import { Inject, Injectable } from '@nestjs/common';
import { Drain } from './drain.js';
import { SETTINGS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

/** How many jobs the worker takes in its life (`--max-jobs`): with the last of them it begins to drain. */
@Injectable()
export class Quota {
  readonly limited: boolean;
  /** Neither taken nor asked for. */
  private left: number;
  private asking = 0;
  private readonly waiting: ((mayAsk: boolean) => void)[] = [];

  constructor(
    @Inject(SETTINGS) { maxJobs = Infinity }: WorkerSettings,
    private readonly drain: Drain,
  ) {
    this.left = maxJobs;
    this.limited = maxJobs !== Infinity;
  }

  /** Whether a job may be asked for; waits while those that are asked for may be the last. Each yes wants `answered`. */
  async mayAsk(): Promise<boolean> {
    if (!this.limited) return true;
    if (this.left > 0) {
      this.left--;
      this.asking++;
      return true;
    }
    if (this.asking === 0) return false;
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** @param gotJob whether the question brought a job */
  answered(gotJob: boolean): void {
    if (!this.limited) return;
    const next = gotJob ? undefined : this.waiting.shift();
    if (next) return next(true);
    this.asking--;
    if (!gotJob) this.left++;
    if (this.left > 0 || this.asking > 0) return;
    this.waiting.splice(0).forEach((resolve) => resolve(false));
    this.drain.ask('it has taken as many as it was started for', Infinity);
  }
}
