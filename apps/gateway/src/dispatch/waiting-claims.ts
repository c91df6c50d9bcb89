import { Injectable } from '@nestjs/common';
import type { Claim } from '#shared/messages/messages.js';

/** Milliseconds for which a claim may still be given a job: as long as a client takes to come back with its next one. */
export const CLAIM_WAITS_MS = 50;

interface Waiting {
  readonly claim: Claim;
  /** Milliseconds of the process's clock. */
  readonly until: number;
}

/**
 * Claims that came with reports and for which there was no job. What is submitted here meanwhile is given to them with
 * the statement that accepts it: no ticket, no further claim. Nothing is lost with them, for their workers ask again.
 */
@Injectable()
export class WaitingClaims {
  private readonly ofQueue = new Map<string, Waiting[]>();

  /** @returns milliseconds for which it waits */
  add(claim: Claim, now = performance.now()): number {
    const others = this.inTime(claim.queue, now);
    this.ofQueue.set(claim.queue, [...others, { claim, until: now + CLAIM_WAITS_MS }]);
    return CLAIM_WAITS_MS;
  }

  /** The one that waits longest for a job of this queue, which waits no more. */
  take(queue: string, now = performance.now()): Claim | undefined {
    const [first, ...others] = this.inTime(queue, now);
    if (others.length > 0) this.ofQueue.set(queue, others);
    else this.ofQueue.delete(queue);
    return first?.claim;
  }

  private inTime(queue: string, now: number): Waiting[] {
    return (this.ofQueue.get(queue) ?? []).filter(({ until }) => now < until);
  }
}
