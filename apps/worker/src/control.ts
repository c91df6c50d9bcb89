import { Controller, Inject, UseFilters } from '@nestjs/common';
import { ChannelErrorFilter } from '#shared/channel/channel-error.filter.js';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import type {
  AttemptRef,
  DrainOrder,
  FetchOrder,
  FetchReply,
  Given,
  ListOrder,
  ListReply,
  SignalOrder,
  SignalReply,
} from '#shared/messages/messages.js';
import type { AttemptTools } from './attempt.js';
import { Attempts } from './attempts.js';
import { Drain } from './drain.js';
import { handBack } from './hand-back.js';
import { TOOLS } from './tokens.js';

/** What gateways order of this worker. Orders for attempts that it does not hold are late ones: nothing to do. */
@Controller()
@UseFilters(ChannelErrorFilter)
export class Control {
  constructor(
    private readonly attempts: Attempts,
    private readonly drains: Drain,
    @Inject(TOOLS) private readonly tools: AttemptTools,
  ) {}

  /** Nobody runs what comes too late; what came by another way has come already. */
  @EventPattern<string>('given')
  async given(@Payload() { claimId, job }: Given): Promise<void> {
    if (this.tools.given.arrived(claimId, job) || this.attempts.find(job)) return;
    await handBack(job, 'no_turn', this.tools);
  }

  @EventPattern<string>('cancel')
  cancel(@Payload() ref: AttemptRef): void {
    this.attempts.find(ref)?.end('cancel');
  }

  @EventPattern<string>('abandon')
  abandon(@Payload() ref: AttemptRef): void {
    this.attempts.find(ref)?.end('abandon');
  }

  @EventPattern<string>('pause')
  async pause(@Payload() ref: AttemptRef): Promise<void> {
    if (await this.attempts.find(ref)?.pause()) await this.confirm('paused', ref);
  }

  @EventPattern<string>('resume')
  async resume(@Payload() ref: AttemptRef): Promise<void> {
    if (await this.attempts.find(ref)?.resume()) await this.confirm('resumed', ref);
  }

  @MessagePattern<string>('signal')
  signal(@Payload() { signal, target, ...ref }: SignalOrder): SignalReply {
    return { sent: this.attempts.find(ref)?.signal(signal, target) ?? false };
  }

  @MessagePattern<string>('list')
  async list(@Payload() { path, ...ref }: ListOrder): Promise<ListReply> {
    return (await this.attempts.find(ref)?.partial?.list(path)) ?? { files: null, more: false };
  }

  @MessagePattern<string>('fetch')
  async fetch(@Payload() order: FetchOrder): Promise<FetchReply> {
    const partial = this.attempts.find(order)?.partial;
    return partial ? partial.send(order, this.tools.files) : { status: 'gone' };
  }

  @EventPattern<string>('drain')
  drain(@Payload() { timeout }: DrainOrder): void {
    this.drains.ask('an operator wants it to stop', timeout);
  }

  private confirm(word: 'paused' | 'resumed', { jobId, attempt }: AttemptRef): Promise<void> {
    const { link, workerId } = this.tools;
    return link.tell(word, { jobId, attempt, workerId });
  }
}
