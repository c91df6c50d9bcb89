import { Logger } from '@nestjs/common';
import { truncateSync } from 'node:fs';
import type { ClaimedJob, Outcome } from '#shared/messages/messages.js';
import { AttemptFailure } from './attempt-failure.js';
import { AttemptEnded, type Attempts, type HeldAttempt } from './attempts.js';
import { StaleAttemptError, type FilesClient } from './files-client.js';
import type { JobClaim } from './claim.js';
import { reportOutcome } from './finish.js';
import type { GatewayLink } from './gateway-link.js';
import type { GivenJobs } from './given-jobs.js';
import { handBack } from './hand-back.js';
import { placeInputs } from './inputs.js';
import type { Capabilities } from './capabilities.js';
import type { Launcher } from './launcher.js';
import type { LiveBudget } from './live-budget.js';
import { takeSnapshot, type Snapshot } from './output-files.js';
import { PartialFiles } from './partial-files.js';
import { packOutputs, type PackedOutputs } from './outputs.js';
import { neverRan, runCommand, type Ran } from './run.js';
import type { Spool, SpoolEntry, SpoolFiles, Upload } from './spool.js';
import { NoTurnError, type Turns } from './turns.js';
import { CANCELED, type Verdict } from './verdict.js';
import type { Workspace, Workspaces } from './workspace.js';

/** What the steps of an attempt work with. */
export interface AttemptTools {
  readonly workerId: string;
  readonly ownEnvironment: Readonly<Record<string, string>>;
  readonly attempts: Attempts;
  readonly spool: Spool;
  readonly workspaces: Workspaces;
  readonly files: FilesClient;
  readonly launcher: Launcher;
  /** What was found out by trying, which takes a while. */
  readonly capabilities: Promise<Capabilities>;
  /** Real paths of what is the worker's. */
  readonly closedFolders: readonly string[];
  readonly link: GatewayLink;
  readonly given: GivenJobs;
  readonly liveBudget: LiveBudget;
}

const logger = new Logger('attempt');

/** Of a workspace as it is taken. */
const NOTHING_THERE: Snapshot = new Map();

/** Seconds up to which a command may as well run again. */
const CHEAP_SECONDS = 10;
/** Milliseconds that a gateway usually needs for an answer, and more. */
const RECORDED_SOON_MS = 500;

/**
 * Takes a claimed job to its end; never rejects.
 * @param turns of the slot: the command runs in its turn
 * @param next goes with its report, and is answered with it
 */
export async function attemptJob(
  job: ClaimedJob,
  tools: AttemptTools,
  turns: Turns,
  next?: JobClaim,
): Promise<void> {
  const held = tools.attempts.hold(job);
  try {
    const entry = await carryOut(job, held, tools, turns);
    await keepUntilRecorded(held, entry, tools, next);
  } catch (error) {
    await giveUp(held, error, tools);
  } finally {
    tools.attempts.letGo(held);
  }
}

/** The steps of an attempt, from its claim to an outcome. */
async function carryOut(
  job: ClaimedJob,
  held: HeldAttempt,
  tools: AttemptTools,
  turns: Turns,
): Promise<SpoolEntry> {
  const startedAt = new Date();
  const spool = tools.spool.open(held.key);
  const workspace = tools.workspaces.take();
  try {
    await placeInputs(job, workspace, spool, tools.files, held.stopped);
    const before = job.inputs.length === 0 ? NOTHING_THERE : await takeSnapshot(workspace.directory);
    held.partial = new PartialFiles(job, workspace.directory, before, job.outputs);
    await turns.take(held.stopped);
    const ran = await runCommand(job, held, workspace, spool, tools).finally(() => turns.over());
    const packed = await keepOutputs(job, held, workspace, before, spool, ran);
    return conclude(job, ran, packed);
  } catch (error) {
    held.commandIsOver();
    return conclude(job, neverRan(verdictBeforeRun(error), startedAt), NOTHING_PACKED);
  } finally {
    held.partial = undefined;
    await tools.workspaces.giveBack(workspace);
  }
}

/**
 * An outcome stands on the disk while it is reported. That of a short job without files is written only when it is
 * not recorded at once: should the worker die in between, running it again costs less than a write for each.
 */
async function keepUntilRecorded(
  held: HeldAttempt,
  entry: SpoolEntry,
  tools: AttemptTools,
  next?: JobClaim,
): Promise<void> {
  const isCheap = entry.uploads.length === 0 && entry.outcome.usage.wallSeconds < CHEAP_SECONDS;
  const keep = () => tools.spool.write(held.key, entry);
  const later = isCheap ? setTimeout(keep, RECORDED_SOON_MS) : void keep();
  try {
    await bringToGateway(held, entry, tools, next);
  } finally {
    clearTimeout(later);
  }
}

/** Reports an outcome; what a drain interrupts is left in the spool for the next start. */
export async function bringToGateway(
  held: HeldAttempt,
  entry: SpoolEntry,
  tools: AttemptTools,
  next?: JobClaim,
): Promise<void> {
  try {
    await reportOutcome(held, entry, tools, next);
  } catch (error) {
    if (!(error instanceof AttemptEnded)) throw error;
    if (error.ending === 'drain') {
      held.unwatch();
      return tools.spool.write(held.key, entry);
    }
  }
  dropFiles(held, tools);
}

/** What the spool has of an attempt. */
function dropFiles(held: HeldAttempt, { spool }: AttemptTools): void {
  held.unwatch();
  spool.remove(held.key);
}

interface KeptOutputs extends PackedOutputs {
  readonly failure?: AttemptFailure;
}

const STREAMS = ['stdout', 'stderr'] as const;

const NOTHING_PACKED: KeptOutputs = { summary: null };

/** Files are kept however the command ended; that they cannot be is part of the outcome. */
async function keepOutputs(
  job: ClaimedJob,
  held: HeldAttempt,
  workspace: Workspace,
  before: Snapshot,
  spool: SpoolFiles,
  { figures }: Ran,
): Promise<KeptOutputs> {
  const whole = job.keepFullOutput ? STREAMS.filter((name) => figures[name].cut) : [];
  try {
    return await packOutputs(workspace.directory, before, job.outputs, spool, held.taken, whole);
  } catch (failure) {
    if (failure instanceof AttemptFailure) return { ...NOTHING_PACKED, failure };
    throw failure;
  } finally {
    for (const name of whole) truncateSync(spool[name], figures[name].bytes);
  }
}

function conclude(job: ClaimedJob, ran: Ran, kept: KeptOutputs): SpoolEntry {
  const outcome: Outcome = {
    ...judge(ran.verdict, kept),
    ...ran.figures,
    usage: {
      ...ran.usage,
      inputBytes: job.inputs.reduce((sum, input) => sum + input.size, 0),
      outputBytes: kept.summary?.bytes ?? 0,
    },
    outputs: kept.summary,
  };
  const uploads: Upload[] = kept.summary ? ['outputs.zip', 'outputs.json'] : [];
  if (!outcome.stdout.whole) uploads.push('stdout');
  if (!outcome.stderr.whole) uploads.push('stderr');
  return { jobId: job.jobId, attempt: job.attempt, filesToken: job.filesToken, uploads, outcome };
}

/** A command that failed keeps its own reason; one that succeeded fails by what became of its files. */
function judge(verdict: Verdict, { failure, note }: KeptOutputs): Verdict {
  const message = [verdict.message, failure?.message, note].filter(Boolean).join(' ').slice(0, 4000);
  const told = message === '' ? verdict : { ...verdict, message };
  if (!failure || verdict.state !== 'succeeded') return told;
  return { ...told, state: 'failed', ...causeOf(failure) };
}

function causeOf({ reason, infrastructure }: AttemptFailure): Pick<Verdict, 'reason' | 'infrastructure'> {
  return { reason, ...(infrastructure ? { infrastructure } : {}) };
}

/** @throws what is no outcome of the job: it was taken away, or the worker itself is at fault */
function verdictBeforeRun(error: unknown): Verdict {
  if (error instanceof AttemptFailure) {
    return { state: 'failed', ...causeOf(error), message: error.message.slice(0, 4000) };
  }
  if (error instanceof AttemptEnded && error.ending === 'cancel') return CANCELED;
  throw error;
}

/** The attempt has no outcome: it belongs to somebody else, or the job is handed back. */
async function giveUp(held: HeldAttempt, error: unknown, tools: AttemptTools): Promise<void> {
  dropFiles(held, tools);
  if (error instanceof StaleAttemptError) {
    logger.warn(`An attempt is dropped: ${error.message}.`, held.ref);
  } else if (error instanceof AttemptEnded) {
    if (error.ending === 'drain') await handBack(held, 'drain', tools);
  } else if (error instanceof NoTurnError) {
    await handBack(held, 'no_turn', tools, held.taken);
  } else {
    logger.error('An attempt is handed back', error, held.ref);
    await handBack(held, 'worker_died', tools, held.taken);
  }
}
