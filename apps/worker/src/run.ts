import type { ClaimedJob, Outcome } from '#shared/messages/messages.js';
import type { HeldAttempt } from './attempts.js';
import type { GatewayLink } from './gateway-link.js';
import { launchOrder } from './launch-order.js';
import type { LaunchResult, Launcher } from './launcher.js';
import type { LiveBudget } from './live-budget.js';
import { OutputWatch } from './output-watch.js';
import type { SpoolFiles } from './spool.js';
import { EMPTY_STREAM, summarizeStream } from './stream-summary.js';
import { verdict, type Intervention, type Verdict } from './verdict.js';
import type { Workspace } from './workspace.js';

/** The end of an attempt's command, or why it never began. */
export interface Ran {
  readonly verdict: Verdict;
  readonly figures: Pick<Outcome, 'startedAt' | 'finishedAt' | 'stdout' | 'stderr'>;
  readonly usage: Outcome['usage'];
}

export interface RunTools {
  readonly launcher: Launcher;
  readonly link: GatewayLink;
  readonly liveBudget: LiveBudget;
  readonly ownEnvironment: Readonly<Record<string, string>>;
  readonly closedFolders: readonly string[];
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
  tools: RunTools,
): Promise<Ran> {
  held.stopped.throwIfAborted();
  const tree = tools.launcher.start(launchOrder(job, held.key, workspace, spool, tools));
  held.runs(tree);

  let overLimit = false;
  const onLimit = () => {
    if (job.onOutputLimit !== 'fail') return;
    overLimit = true;
    tree.end();
  };
  const watch = new OutputWatch(job, workspace, spool, tools, onLimit);
  held.isWatchedBy(watch);
  let result: LaunchResult;
  try {
    result = await tree.ended;
  } finally {
    held.commandIsOver();
  }
  const sizes = watch.finish();
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
      maxProcesses: result.maxProcesses,
      readBytes: result.readBytes,
      writtenBytes: result.writtenBytes,
      pausedSeconds: result.pausedSeconds,
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
