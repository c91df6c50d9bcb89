import { Controller, Inject, Logger, UseFilters } from '@nestjs/common';
import { ChannelErrorFilter } from '#shared/channel/channel-error.filter.js';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import { ChannelContext } from '#shared/channel/channel-context.js';
import type { ClaimedJob, MessageBody } from '#shared/messages/messages.js';
import { attemptJob, type AttemptTools } from './attempt.js';
import { JobClaim, type Willingness } from './claim.js';
import { Drain } from './drain.js';
import { handBack } from './hand-back.js';
import { Quota } from './quota.js';
import { Turns } from './turns.js';
import { SETTINGS, TOOLS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

/**
 * A broker closes the channel of a ticket that is held for half an hour. A ticket protects nothing, the lease
 * does: a slot that is busy for longer than this lets go of it.
 */
const TICKET_HELD_MS = 10 * 60_000;

/** Jobs that a slot has at most, where their commands are short: one runs, others are reported and fetched. */
const MOST_IN_HAND = 6;

/** A slot that is busy. */
interface Slot {
  readonly queue: string;
  /** Of its ticket. */
  readonly context: ChannelContext;
  readonly turns: Turns;
  readonly inHand: Set<Promise<void>>;
}

/** A ticket under way is a busy slot; the broker hands out no more of them than there are slots. */
@Controller()
@UseFilters(ChannelErrorFilter)
export class Slots {
  private readonly logger = new Logger('slots');
  /** Slots per queue that have tickets. */
  private readonly busy = new Map<string, number>();
  /** Queues in which a slot may be waiting for its next job. */
  private readonly waiting = new Set<string>();

  constructor(
    @Inject(TOOLS) private readonly tools: AttemptTools,
    @Inject(SETTINGS) private readonly settings: WorkerSettings,
    private readonly drain: Drain,
    private readonly quota: Quota,
  ) {}

  @EventPattern<string>('ticket')
  async serve(@Payload() { queue }: MessageBody<'ticket'>, @Ctx() context: ChannelContext): Promise<void> {
    const release = setTimeout(() => void this.release(context), TICKET_HELD_MS);
    this.count(queue, 1);
    try {
      await this.serveTicket(queue, context);
    } finally {
      clearTimeout(release);
      this.count(queue, -1);
    }
  }

  private count(queue: string, change: number): void {
    this.busy.set(queue, (this.busy.get(queue) ?? 0) + change);
  }

  private async serveTicket(queue: string, context: ChannelContext): Promise<void> {
    if (this.drain.draining || !(await this.quota.mayAsk())) return this.leaveToOthers();
    const turns = new Turns(() => !this.drain.draining);
    const slot = { queue, context, turns, inHand: new Set<Promise<void>>() };
    this.takeInHand(slot, () => this.workOff(slot, (gotJob) => this.quota.answered(gotJob)));
    while (slot.inHand.size > 0) await Promise.all(slot.inHand);
  }

  private takeInHand({ inHand }: Slot, work: () => Promise<void>): void {
    const jobs = work().finally(() => inHand.delete(jobs));
    inHand.add(jobs);
  }

  /** One job after the other, as long as the reports bring them. */
  private async workOff(slot: Slot, onAnswer?: (gotJob: boolean) => void): Promise<void> {
    const claim = new JobClaim(slot.queue);
    let job = await this.received(claim.send(this.tools, this.drain.over), onAnswer);
    while (job) {
      const next = new JobClaim(slot.queue, () => this.willingness(slot));
      job = await this.attemptAndClaim(job, slot, next);
      if (job && !next.hasWaited && slot.turns.areShort && slot.inHand.size < MOST_IN_HAND)
        this.takeInHand(slot, () => this.drawAndWorkOff(slot));
    }
  }

  /** Where commands are short a slot has more jobs in hand: it need not wait for reports and their answers. */
  private async drawAndWorkOff(slot: Slot): Promise<void> {
    if (await slot.context.drawAnother()) await this.workOff(slot);
  }

  /**
   * @param next is asked with the report
   * @returns the next job, where there is one
   */
  private async attemptAndClaim(
    job: ClaimedJob,
    { queue, turns, context }: Slot,
    next: JobClaim,
  ): Promise<ClaimedJob | undefined> {
    await attemptJob(job, this.tools, turns, next);
    const following = await this.received(next.following(this.tools, this.drain.over));
    if (next.mayWait) this.waiting.delete(queue);
    if (following && next.leavesTicket) void context.drawAnother();
    return following;
  }

  /** One slot of a queue waits for jobs at a gateway; while it does, another is free for the tickets of others. */
  private willingness({ queue, turns, inHand }: Slot): Willingness {
    if (this.drain.draining || this.quota.limited || (inHand.size > 1 && !turns.areShort)) return 'no';
    const isSpare = inHand.size === 1 && this.busy.get(queue)! < (this.settings.queues[queue] ?? 0);
    if (!isSpare || this.waiting.has(queue)) return 'yes';
    this.waiting.add(queue);
    return 'yes, it may wait';
  }

  /**
   * What a claim was answered with; a job that comes while the worker drains is handed back at once.
   * @param onAnswer may begin a drain, with this job as the last one
   */
  private async received(
    claim: Promise<ClaimedJob | undefined>,
    onAnswer: (gotJob: boolean) => void = () => undefined,
  ): Promise<ClaimedJob | undefined> {
    const job = await this.answerTo(claim);
    const comesTooLate = this.drain.draining;
    onAnswer(job !== undefined);
    if (!job || !comesTooLate) return job;
    await handBack(job, 'drain', this.tools);
    return undefined;
  }

  /** The ticket goes back to its queue, once it would not come to this worker again. */
  private async leaveToOthers(): Promise<never> {
    await this.drain.quiet;
    throw new TicketReturned();
  }

  private async release(context: ChannelContext): Promise<void> {
    try {
      await context.release();
    } catch (error) {
      // The connection went, and the ticket with it: that is as good.
      this.logger.debug(`A ticket was not released: ${(error as Error).message}`);
    }
  }

  /** A claim that was sent is answered before a drain ends, lest its job waits for a lease that nobody holds. */
  private async answerTo(claim: Promise<ClaimedJob | undefined>): Promise<ClaimedJob | undefined> {
    try {
      return await claim;
    } catch (error) {
      this.logger.warn(`A claim had no answer: ${(error as Error).message}`);
      return undefined;
    }
  }
}

/** Nothing went wrong: another worker may have the ticket. */
class TicketReturned extends Error {
  readonly requeue = true;

  constructor() {
    super('this worker takes no more jobs');
  }
}
