import { randomUUID } from 'node:crypto';
import type { ClaimedJob, Finished, Reply } from '#shared/messages/messages.js';
import type { GatewayLink } from './gateway-link.js';

/**
 * A slot's question for a job of `queue`. It keeps its id over every repetition, so that an answer that was lost on its
 * way is given again instead of a second job.
 */
export class JobClaim {
  private readonly claimId = randomUUID();
  private asked = false;
  private job?: ClaimedJob | null;
  /** Whether a ticket lies for the job, which its slot does not need: it has one. */
  leavesTicket = false;

  /** @param mayAsk whether the slot takes another job, when it comes to that */
  constructor(
    private readonly queue: string,
    private readonly mayAsk: () => boolean = () => true,
  ) {}

  /** What goes with the report of the slot's last job; undefined when the slot takes no other. */
  question(): Finished['next'] {
    this.asked = this.mayAsk();
    return this.asked ? { claimId: this.claimId, queue: this.queue } : undefined;
  }

  /** What came with the answer to that report: `job` is null where there is none, undefined where that was not answered. */
  answered({ job, draw = false }: Reply<'finished'>): void {
    this.job = job;
    this.leavesTicket = draw;
  }

  /**
   * The job that a report has brought; where one was asked for and nothing is known of the answer, it is asked for anew.
   * @throws the signal's reason when it is aborted first
   */
  async following(by: Asker, signal: AbortSignal): Promise<ClaimedJob | undefined> {
    if (this.asked && this.job === undefined) return this.send(by, signal);
    return this.job ?? undefined;
  }

  /**
   * Asks in a message of its own; undefined when there is no job.
   * @throws the signal's reason when it is aborted first
   */
  async send({ workerId, link }: Asker, signal: AbortSignal): Promise<ClaimedJob | undefined> {
    const { claimId, queue } = this;
    const { job } = await link.ask('claim', { claimId, workerId, queue }, signal);
    return job ?? undefined;
  }
}

interface Asker {
  readonly workerId: string;
  readonly link: GatewayLink;
}
