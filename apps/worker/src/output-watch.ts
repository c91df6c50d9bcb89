import { Logger } from '@nestjs/common';
import type { AttemptRef, ClaimedJob } from '#shared/messages/messages.js';
import type { GatewayLink } from './gateway-link.js';
import type { LiveBudget } from './live-budget.js';
import { LogFollower, type LogSize } from './log-follower.js';
import { ProgressFollower } from './progress.js';
import { ProgressLines } from './progress-lines.js';
import type { SpoolFiles } from './spool.js';
import type { Workspace } from './workspace.js';

const logger = new Logger('output-watch');

/** Milliseconds before a command is watched at all: shorter ones report everything with their end. */
const WATCH_AFTER_MS = 150;
const LOOK_EVERY_MS = 100;
/** Progress is told on every third look: at most four marks a second reach the gateway. */
const LOOKS_PER_PROGRESS = 3;

export interface WatchTools {
  readonly link: GatewayLink;
  readonly liveBudget: LiveBudget;
}

/**
 * Watches what a command writes, from its start until the gateway has recorded its end: sends its logs, which a
 * follower sees at once although the outputs may take hours to be stored, and tells its progress.
 */
export class OutputWatch {
  private readonly ref: AttemptRef;
  private readonly stdout: LogFollower;
  private readonly stderr: LogFollower;
  private readonly progress: ProgressFollower;
  private timer: NodeJS.Timeout;
  private looks = 0;
  private over = false;

  /** @param onLimit called for each stream that outgrows its limit */
  constructor(
    job: Pick<ClaimedJob, 'jobId' | 'attempt' | 'limits' | 'keepFullOutput'>,
    workspace: Pick<Workspace, 'progress'>,
    spool: Pick<SpoolFiles, 'stdout' | 'stderr'>,
    { link, liveBudget }: WatchTools,
    onLimit: () => void,
  ) {
    const ref = { jobId: job.jobId, attempt: job.attempt };
    this.ref = ref;
    this.progress = new ProgressFollower(workspace.progress, (mark) => {
      void link.tell('progress', { ...ref, ...mark });
    });
    const lines = new ProgressLines((mark) => this.progress.said(mark));
    const follow = (stream: 'stdout' | 'stderr') =>
      new LogFollower(
        spool[stream],
        ({ data, ...place }) =>
          link.tryToTell('logs', { ...ref, stream, ...place, data: data.toString('base64') }),
        {
          limit: job.limits.output,
          keepFull: job.keepFullOutput === true,
          budget: liveBudget,
          onLimit,
          ...(stream === 'stdout' ? { onChunk: (chunk) => lines.read(chunk) } : {}),
        },
      );
    this.stdout = follow('stdout');
    this.stderr = follow('stderr');
    this.timer = setTimeout(() => this.look(), WATCH_AFTER_MS);
  }

  /** The command is over: how much of its logs is kept. Looks at them go on; the workspace is soon another's. */
  finish(): { stdout: LogSize; stderr: LogSize } {
    this.over = true;
    if (this.looks > 0) this.progress.look();
    return { stdout: this.stdout.finish(), stderr: this.stderr.finish() };
  }

  /** To be called before the logs are removed. */
  close(): void {
    clearTimeout(this.timer);
    this.stdout.close();
    this.stderr.close();
  }

  private look(): void {
    try {
      this.stdout.look();
      this.stderr.look();
      if (this.looks++ % LOOKS_PER_PROGRESS === 0 && !this.over) this.progress.look();
    } catch (error) {
      logger.warn(`The output of a command cannot be followed: ${(error as Error).message}`, this.ref);
    }
    this.timer = setTimeout(() => this.look(), LOOK_EVERY_MS);
  }
}
