import { randomUUID } from 'node:crypto';
import type { ClaimedJob } from '#shared/messages/messages.js';
import type { GatewayLink } from './gateway-link.js';

/**
 * Asks for the next job of `queue`; undefined when there is none. The claim keeps its id over every repetition,
 * so an answer that was lost on its way is given again instead of a second job.
 * @throws the signal's reason when it is aborted first
 */
export async function claimJob(
  queue: string,
  { workerId, link }: { workerId: string; link: GatewayLink },
  signal: AbortSignal,
): Promise<ClaimedJob | undefined> {
  const { job } = await link.ask('claim', { claimId: randomUUID(), workerId, queue }, signal);
  return job ?? undefined;
}
