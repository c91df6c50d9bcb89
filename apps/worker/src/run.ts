import { Logger } from '@nestjs/common';
import type { ClaimedJob, Outcome } from '#shared/messages/messages.js';
import type { HeldAttempt } from './attempts.js';
import type { GatewayLink } from './gateway-link.js';
import { jobEnvironment } from './job-environment.js';
import type { LaunchResult, Launcher } from './launcher.js';
import { LogFollower } from './log-follower.js';
import { ProgressFollower } from './progress.js';
import type { SpoolFiles } from './spool.js';
import { EMPTY_STREAM, summarizeStream } from './stream-summary.js';
import { verdict, type Intervention, type Verdict } from './verdict.js';
import type { Workspace } from './workspace.js';

const logger = new Logger('run');

/** Milliseconds before a command is watched at all: shorter ones report everything with their end. */
const WATCH_AFTER_MS = 150;
const LOOK_EVERY_MS = 100;
/** Progress is looked at on every third look: at most four marks a second reach the gateway. */
const LOOKS_PER_PROGRESS = 3;

/** The end of an attempt's command, or why it never began. */
export interface Ran {
  readonly verdict: Verdict;
  readonly figures: Pick<Outcome, 'startedAt' | 'finishedAt' | 'stdout' | 'stderr'>;
  readonly usage: Outcome['usage'];
}

export interface RunTools {
  readonly launcher: Launcher;
  readonly link: GatewayLink;
  readonly ownEnvironment: Readonly<Record<string, string>>;
}

/**
 * Runs the job's command to its end, following its output.
 * @throws {AttemptEnded} handed back or abandoned
 * @throws {LauncherDiedError}
 */
export async function runCommand(
  job: ClaimedJob,
  held: HeldAttempt,
  workspace: Workspace,
  spool: SpoolFiles,
  { launcher, link, ownEnvironment }: RunTools,
): Promise<Ran> {
  held.stopped.throwIfAborted();
  const tree = launcher.start({
    id: held.key,
    command: job.command,
    env: jobEnvironment(job, workspace, ownEnvironment),
    directory: workspace.directory,
    stdout: spool.stdout,
    stderr: spool.stderr,
    wallTime: job.limits.wallTime,
    killGrace: job.limits.killGrace,
  });
  held.runs(tree);

  let overLimit = false;
  const onLimit = () => {
    if (job.onOutputLimit !== 'fail') return;
    overLimit = true;
    tree.end();
  };
  const follow = (stream: 'stdout' | 'stderr') =>
    new LogFollower(
      spool[stream],
      job.limits.output,
      (offset, chunk) => link.tell('logs', { ...ref(held), stream, offset, data: chunk.toString('base64') }),
      onLimit,
    );
  const [stdout, stderr] = [follow('stdout'), follow('stderr')];
  const progress = new ProgressFollower(workspace.progress, (mark) => {
    void link.tell('progress', { ...ref(held), ...mark });
  });

  const stopLooking = lookRepeatedly([stdout, stderr], progress);
  let result: LaunchResult;
  try {
    result = await tree.ended;
  } finally {
    stopLooking();
    held.commandIsOver();
  }
  const sizes = { stdout: stdout.finish(), stderr: stderr.finish() };
  held.taken.throwIfAborted();
  return {
    verdict: verdict(job, result, intervention(overLimit, held)),
    figures: {
      startedAt: result.startedAt,
      finishedAt: result.finishedAt,
      stdout: summarizeStream(spool.stdout, sizes.stdout),
      stderr: summarizeStream(spool.stderr, sizes.stderr),
    },
    usage: {
      wallSeconds: result.wallSeconds,
      cpuSeconds: result.cpuSeconds,
      maxMemoryBytes: result.maxMemoryBytes,
    },
  };
}

function intervention(overLimit: boolean, { stopped }: HeldAttempt): Intervention {
  if (overLimit) return 'output_limit';
  return stopped.aborted ? 'cancel' : undefined;
}

/** An attempt that ended before its command began. */
export function neverRan(verdict: Verdict, startedAt: Date): Ran {
  const finishedAt = new Date();
  return {
    verdict,
    figures: {
      startedAt: startedAt.toISOString(),
      finishedAt: finishedAt.toISOString(),
      stdout: EMPTY_STREAM,
      stderr: EMPTY_STREAM,
    },
    usage: { wallSeconds: 0 },
  };
}

/** Looks again and again once the command is no short one; the returned function ends that with a last look. */
function lookRepeatedly(logs: readonly LogFollower[], progress: ProgressFollower): () => void {
  let timer: NodeJS.Timeout;
  let looks = 0;
  const look = () => {
    try {
      for (const log of logs) log.look();
      if (looks++ % LOOKS_PER_PROGRESS === 0) progress.look();
    } catch (error) {
      logger.warn(`The output of a command cannot be followed: ${(error as Error).message}`);
    }
    timer = setTimeout(look, LOOK_EVERY_MS);
  };
  timer = setTimeout(look, WATCH_AFTER_MS);
  return () => {
    clearTimeout(timer);
    if (looks > 0) progress.look();
  };
}

function ref({ jobId, attempt }: HeldAttempt) {
  return { jobId, attempt };
}
