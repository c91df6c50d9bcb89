import { Logger } from '@nestjs/common';
import type { AttemptRef, Lost } from '#shared/messages/messages.js';
import type { GatewayLink } from './gateway-link.js';

const logger = new Logger('hand-back');

/** Milliseconds that a stopping worker tries to hand a job back; after that the lease has to run out. */
const HAND_BACK_MS = 10_000;

/** Tells the gateway of an attempt without an outcome, so that the job need not wait for its lease. Never rejects. */
export async function handBack(
  { jobId, attempt }: AttemptRef,
  cause: Lost['cause'],
  { workerId, link }: { workerId: string; link: GatewayLink },
  signal: AbortSignal = AbortSignal.timeout(HAND_BACK_MS),
): Promise<void> {
  try {
    await link.ask('lost', { jobId, attempt, workerId, cause }, signal);
  } catch (error) {
    logger.warn(`An attempt could not be handed back: ${(error as Error).message}`, { jobId, attempt });
  }
}
