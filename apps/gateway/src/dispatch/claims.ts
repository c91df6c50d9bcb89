import { Inject, Injectable, Logger } from '@nestjs/common';
import { ChannelClient } from '#shared/channel/channel-client.js';
import type { Claim, ClaimReply, ClaimedJob, FinishedReply, InputFile } from '#shared/messages/messages.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { AttemptTokens } from '../files/attempt-token.js';
import { JobEvents } from '../events/job-events.js';
import { JobLifecycle, type NewJob } from '../jobs/job-lifecycle.js';
import type { ClaimedRow, StoredInputFile } from '../jobs/job-row.js';
import { Metrics } from '../metrics/metrics.js';
import { Batcher } from './batcher.js';
import { Tickets } from './tickets.js';
import { WaitingClaims } from './waiting-claims.js';

/** What a claim is given; undefined: nothing. */
export type Taken = ClaimedRow | undefined;

/**
 * Answers "give me the next job". Claims that arrive together are answered with one statement; those that come with
 * a report go with its statement (reports.ts).
 */
@Injectable()
export class Claims {
  private readonly logger = new Logger(Claims.name);
  private readonly batcher = new Batcher<Claim, Taken>((claims) => this.take(claims));

  constructor(
    private readonly lifecycle: JobLifecycle,
    private readonly events: JobEvents,
    private readonly tickets: Tickets,
    private readonly tokens: AttemptTokens,
    private readonly metrics: Metrics,
    private readonly waiting: WaitingClaims,
    private readonly channel: ChannelClient,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  async answer(claim: Claim): Promise<ClaimReply> {
    const done = this.metrics.claimSeconds.startTimer();
    const taken = await this.batcher.add(claim);
    done();
    if (!taken) void this.tickets.ledNowhere(claim.queue);
    return this.reply(claim.queue, taken);
  }

  /** What follows once claims are given jobs. */
  given(taken: readonly Taken[]): void {
    this.events.publish(taken.filter((job) => job !== undefined));
  }

  /** Claims that wait for such jobs, one for each that can be claimed at once; they wait no more. */
  waitingFor(jobs: readonly NewJob[]): Claim[] {
    const ready = jobs.filter(({ hold, delay }) => !hold && delay <= 0);
    return ready.map(({ queue }) => this.waiting.take(queue)).filter((claim) => claim !== undefined);
  }

  /** Sends what claims that waited are given to their workers. */
  give(claims: readonly Claim[], taken: readonly Taken[]): void {
    this.given(taken);
    taken.forEach((job, nth) => job && void this.sendTo(claims[nth]!, job));
  }

  /** The answer to a claim that came with a report: its slot has a ticket already. */
  async replyToSlot(
    claim: Claim,
    taken: Taken,
    mayWait = false,
  ): Promise<Pick<FinishedReply, 'job' | 'draw' | 'waits'>> {
    if (!taken && mayWait) return { waits: this.waiting.add(claim) };
    const { queue } = claim;
    // Without an event it is given again, because the first answer was lost: its ticket was seen to then.
    const draw = taken !== undefined && taken.event_id !== null && this.tickets.leavesTicket(queue);
    return { ...(await this.reply(queue, taken)), ...(draw ? { draw } : {}) };
  }

  /** @param queue that was claimed in */
  private async reply(queue: string, taken: Taken): Promise<ClaimReply> {
    this.metrics.claims.inc({ queue, result: taken ? 'job' : 'empty' });
    return { job: taken ? await this.toClaimedJob(taken) : null };
  }

  /** Never rejects: should it be lost its worker asks, and one that is gone loses it as it does what it runs. */
  private async sendTo({ claimId, workerId, queue }: Claim, taken: ClaimedRow): Promise<void> {
    try {
      const { job } = await this.reply(queue, taken);
      await this.channel.tell('given', { claimId, job: job! }, workerId);
    } catch (error) {
      this.logger.debug(`job ${taken.id} was not sent to ${workerId}: ${(error as Error).message}`);
    }
  }

  private async take(claims: Claim[]): Promise<Taken[]> {
    const taken = await this.lifecycle.claim(claims, this.config.lease);
    this.given(taken);
    return taken;
  }

  private async toClaimedJob(job: ClaimedRow): Promise<ClaimedJob> {
    const { command, env, outputs, limits, isolation, onOutputLimit, keepFullOutput } = job.spec;
    return {
      jobId: job.id,
      attempt: job.attempt,
      queue: job.queue,
      command: [...command],
      env: { ...env },
      inputs: job.inputs.map((input) => inputFile(job, input)),
      outputs: [...outputs],
      limits,
      ...(isolation ? { isolation } : {}),
      onOutputLimit,
      ...(keepFullOutput ? { keepFullOutput } : {}),
      filesToken: await this.tokens.issue(job.id, job.attempt),
      ...(job.traceparent ? { traceparent: job.traceparent } : {}),
    };
  }
}

/** Inline inputs travel with the claim; the others are fetched under the attempt's token. */
function inputFile(job: ClaimedRow, { index, ...input }: StoredInputFile): InputFile {
  return index === undefined
    ? input
    : { ...input, href: `/v1/attempts/${job.id}/${job.attempt}/inputs/${index}` };
}
