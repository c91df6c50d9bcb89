import { Logger } from '@nestjs/common';
import type { Outcome } from '#shared/messages/messages.js';
import type { HeldAttempt } from './attempts.js';
import type { JobClaim } from './claim.js';
import { FileRefusedError, StaleAttemptError, type FilesClient } from './files-client.js';
import type { GatewayLink } from './gateway-link.js';
import type { GivenJobs } from './given-jobs.js';
import type { Spool, SpoolEntry, Upload } from './spool.js';

export interface FinishTools {
  readonly workerId: string;
  readonly spool: Spool;
  readonly files: FilesClient;
  readonly link: GatewayLink;
  readonly given: GivenJobs;
}

const logger = new Logger('finish');

/**
 * Brings an outcome and its files to the gateway, as often as it takes until it is recorded or refused. Begun
 * again after a restart it does the same: every upload and report may arrive twice.
 * @param claim goes with the report
 * @throws {AttemptEnded} the worker stops first, or the gateway gave the attempt away before all was uploaded
 */
export async function reportOutcome(
  held: HeldAttempt,
  entry: SpoolEntry,
  tools: FinishTools,
  claim?: JobClaim,
): Promise<void> {
  let outcome: Outcome;
  try {
    outcome = await uploadAll(held, entry, tools);
  } catch (error) {
    if (!(error instanceof StaleAttemptError)) throw error;
    logger.warn(`An attempt is dropped: ${error.message}.`, held.ref);
    return;
  }
  const { jobId, attempt } = entry;
  const report = { jobId, attempt, workerId: tools.workerId, outcome, next: claim?.question(tools.given) };
  // Also of an attempt that was abandoned meanwhile: a claim that went along must not be answered to nobody.
  const reply = await tools.link.ask('finished', report, held.left);
  claim?.answered(reply);
  if (reply.status === 'refused') logger.warn('The outcome of an attempt was refused as stale.', held.ref);
}

async function uploadAll(
  held: HeldAttempt,
  entry: SpoolEntry,
  { spool, files }: FinishTools,
): Promise<Outcome> {
  const kept = spool.at(held.key);
  let outcome = entry.outcome;
  for (const name of entry.uploads) {
    if (isOutput(name) && outcome.outputs === null) continue;
    try {
      await files.put(entry, name, kept.path(name), held.taken);
    } catch (error) {
      if (!(error instanceof FileRefusedError)) throw error;
      outcome = withoutUpload(outcome, name, error.message);
    }
  }
  return outcome;
}

function isOutput(name: Upload): boolean {
  return name === 'outputs.zip' || name === 'outputs.json';
}

/** Outputs that the gateway will not take fail a job that had succeeded; of a refused log the tail remains. */
function withoutUpload(outcome: Outcome, name: Upload, why: string): Outcome {
  const what = isOutput(name) ? 'output files' : name;
  const sentence = `The ${what} could not be stored: ${why}.`;
  const message = outcome.message ? `${outcome.message} ${sentence}` : sentence;
  const rest = { ...outcome, message, outputs: isOutput(name) ? null : outcome.outputs };
  return outcome.state === 'succeeded' ? { ...rest, state: 'failed', reason: 'output_error' } : rest;
}
