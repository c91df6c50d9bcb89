import { randomUUID } from 'node:crypto';
import type { ClaimedJob, Finished, Reply } from '#shared/messages/messages.js';
import type { GatewayLink } from './gateway-link.js';
import type { Expected, GivenJobs } from './given-jobs.js';
import { handBack } from './hand-back.js';

/** Milliseconds that a job may be under way which was given to a claim in the last moment of its waiting. */
const UNDER_WAY_MS = 50;

/** Whether a slot takes another job, and whether it can wait for one. */
export type Willingness = 'no' | 'yes' | 'yes, it may wait';

/**
 * A slot's question for a job of `queue`. It keeps its id over every repetition, so that an answer that was lost on its
 * way is given again instead of a second job.
 */
export class JobClaim {
  private readonly claimId = randomUUID();
  private asked = false;
  /** Its slot said that it can wait for a job. */
  mayWait = false;
  private job?: ClaimedJob | null;
  private expected?: Expected;
  /** Milliseconds for which it waits at the gateway. */
  private waits?: number;
  /** Whether a ticket lies for the job, which its slot does not need: it has one. */
  leavesTicket = false;

  /** @param willing what holds of the slot when it comes to asking */
  constructor(
    private readonly queue: string,
    private readonly willing: () => Willingness = () => 'yes',
  ) {}

  /** Whether the job had yet to be submitted when the slot was free: none lies there unclaimed. */
  get hasWaited(): boolean {
    return this.waits !== undefined;
  }

  /** What goes with the report of the slot's last job; undefined when the slot takes no other. */
  question(given: GivenJobs): Finished['next'] {
    const { claimId, queue } = this;
    const willing = this.willing();
    this.asked = willing !== 'no';
    if (!this.asked) return undefined;
    this.mayWait = willing === 'yes, it may wait';
    if (!this.mayWait) return { claimId, queue };
    this.expected = given.expect(claimId);
    return { claimId, queue, mayWait: true };
  }

  /** What came with the answer to that report: `job` is null where there is none, undefined where that was not answered. */
  answered({ job, draw = false, waits }: Reply<'finished'>): void {
    this.job = job;
    this.leavesTicket = draw;
    this.waits = waits;
  }

  /**
   * The job that a report has brought, or that was given since; where one was asked for and nothing is known of the
   * answer, it is asked for anew.
   * @throws the signal's reason when it is aborted first
   */
  async following(by: Asker, signal: AbortSignal): Promise<ClaimedJob | undefined> {
    try {
      if (!this.asked || this.job !== undefined) return this.job ?? undefined;
      const { expected, waits } = this;
      if (!expected) return await this.send(by, signal);
      const early = waits === undefined ? undefined : await within(waits + UNDER_WAY_MS, expected.job);
      return early ?? (await this.sendAfterWaiting(expected, by, signal));
    } finally {
      this.expected?.forget();
    }
  }

  /**
   * From here on only the answer counts, which says what is claimed now: what comes meanwhile may be long over, as after
   * a time in which this process was stopped. It is the same job, or one that nobody here will run.
   */
  private async sendAfterWaiting(
    expected: Expected,
    by: Asker,
    signal: AbortSignal,
  ): Promise<ClaimedJob | undefined> {
    let answer: ClaimedJob | undefined;
    try {
      return (answer = await this.send(by, signal));
    } finally {
      const late = expected.came();
      if (late && late.jobId !== answer?.jobId) void handBack(late, 'no_turn', by);
    }
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

function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    void promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

interface Asker {
  readonly workerId: string;
  readonly link: GatewayLink;
}
