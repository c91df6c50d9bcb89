import type { LoggerService } from '@nestjs/common';
import { BehaviorSubject, filter, firstValueFrom } from 'rxjs';
import type { Consumption, ConsumeOptions, ConsumerHandler, RawMessage, Settlement } from './broker.js';
import type { InProcessQueue, Taker } from './in-process-queue.js';

/** The consumers of one in-process queue. */
export class InProcessConsumption implements Consumption {
  private readonly consumers: InProcessConsumer[];
  private readonly underWay = new BehaviorSubject(0);
  private stopped = false;

  constructor(
    private readonly queue: InProcessQueue,
    { consumers, prefetch }: ConsumeOptions,
    private readonly handler: ConsumerHandler,
    private readonly logger: LoggerService,
    private readonly onStop: () => void,
  ) {
    this.consumers = Array.from({ length: consumers }, () => new InProcessConsumer(prefetch, this.take));
    this.consumers.forEach((consumer) => queue.addTaker(consumer));
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    this.consumers.forEach((consumer) => this.queue.removeTaker(consumer));
    this.onStop();
  }

  async idle(): Promise<void> {
    await firstValueFrom(this.underWay.pipe(filter((count) => count === 0)));
  }

  private async handle(message: RawMessage, release: () => Promise<void>): Promise<Settlement> {
    try {
      return await this.handler({ message, release, drawAnother: async () => this.queue.draw() });
    } catch (error) {
      this.logger.error(`${this.queue.name}: a handler failed on a message: ${(error as Error)?.message}`);
      return 'dead-letter';
    }
  }

  private readonly take: Take = async (message, settle, release) => {
    this.underWay.next(this.underWay.value + 1);
    settle(await this.handle(message, release));
    this.underWay.next(this.underWay.value - 1);
  };
}

type Settle = (settlement: Settlement) => void;
type Take = (message: RawMessage, settle: Settle, release: () => Promise<void>) => Promise<void>;

class InProcessConsumer implements Taker {
  private underWay = 0;
  private listening = true;

  constructor(
    private readonly prefetch: number,
    private readonly handle: Take,
  ) {}

  ready(): boolean {
    return this.listening && this.underWay < this.prefetch;
  }

  take(message: RawMessage, settle: Settle): void {
    this.underWay++;
    let released = false;
    const release = async () => {
      if (released) return;
      released = true;
      this.listening = false;
      settle('ack');
    };
    const finish = (settlement: Settlement) => {
      this.underWay--;
      if (this.underWay === 0) this.listening = true;
      // An ack once more, after a release, does no more than look for the next message.
      settle(released ? 'ack' : settlement);
    };
    void this.handle(message, finish, release);
  }
}
