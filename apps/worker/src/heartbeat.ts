import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import type { AttemptTools } from './attempt.js';
import { Drain } from './drain.js';
import { TOOLS } from './tokens.js';

/** Renews the leases of all that the worker holds; goes on during a drain, until the end. */
@Injectable()
export class Heartbeat implements OnApplicationShutdown {
  private timer?: NodeJS.Timeout;

  constructor(
    @Inject(TOOLS) private readonly tools: AttemptTools,
    private readonly drain: Drain,
  ) {}

  start(everySeconds: number): void {
    this.timer ??= setInterval(() => this.beat(), everySeconds * 1000);
    this.beat();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  private beat(): void {
    const { workerId, attempts, link } = this.tools;
    void link.tell('heartbeat', {
      workerId,
      draining: this.drain.draining,
      attempts: attempts.all().map(({ jobId, attempt }) => ({ jobId, attempt })),
    });
  }
}
