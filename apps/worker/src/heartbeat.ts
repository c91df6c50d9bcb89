import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import { filter, type Subscription } from 'rxjs';
import type { Broker } from '#shared/channel/broker.js';
import type { AttemptTools } from './attempt.js';
import { Drain } from './drain.js';
import { BROKER, TOOLS } from './tokens.js';

/** Renews the leases of all that the worker holds; goes on during a drain, until the end. */
@Injectable()
export class Heartbeat implements OnApplicationShutdown {
  private timer?: NodeJS.Timeout;
  private reconnects?: Subscription;

  constructor(
    @Inject(BROKER) private readonly broker: Broker,
    @Inject(TOOLS) private readonly tools: AttemptTools,
    private readonly drain: Drain,
  ) {}

  start(everySeconds: number): void {
    this.timer ??= setInterval(() => this.beat(), everySeconds * 1000);
    // At once when it was cut off: what it holds may have been given to others meanwhile.
    this.reconnects ??= this.broker.status
      .pipe(filter((status) => status === 'connected'))
      .subscribe(() => this.beat());
  }

  onApplicationShutdown(): void {
    this.reconnects?.unsubscribe();
    clearInterval(this.timer);
  }

  private beat(): void {
    const { workerId, attempts, link } = this.tools;
    void link.tell('heartbeat', {
      workerId,
      draining: this.drain.draining,
      attempts: attempts.all().map(({ jobId, attempt, paused }) => ({ jobId, attempt, paused })),
    });
  }
}
