import type { AttemptRef } from '#shared/messages/messages.js';
import type { ProcessTree } from './launcher.js';
import type { PartialFiles } from './partial-files.js';

/**
 * Why an attempt is ended from outside. `cancel`: its outcome is `canceled`. `drain`: handed back. `abandon`: it
 * belongs to somebody else by now: nothing more is uploaded, and a report under way is refused.
 */
export type Ending = 'cancel' | 'drain' | 'abandon';

/** Thrown through the steps of an attempt that is ended from outside. */
export class AttemptEnded extends Error {
  constructor(readonly ending: Ending) {
    super(`the attempt was ended (${ending})`);
  }
}

/** An attempt that this worker holds the lease of, from its claim until the gateway has recorded its end. */
export class HeldAttempt implements AttemptRef {
  readonly jobId: string;
  readonly attempt: number;
  /** Names its folders. */
  readonly key: string;
  private readonly stopper = new AbortController();
  private readonly taker = new AbortController();
  private readonly leaver = new AbortController();
  private tree?: ProcessTree;
  private watch?: { close(): void };
  /** While its command runs and its outputs are packed. */
  partial?: PartialFiles;
  private over = false;
  private toBePaused = false;
  private isPaused = false;

  constructor(ref: AttemptRef) {
    this.jobId = ref.jobId;
    this.attempt = ref.attempt;
    this.key = attemptKey(ref);
  }

  /** What lines of the log say of it. */
  get ref(): AttemptRef {
    return { jobId: this.jobId, attempt: this.attempt };
  }

  /** Aborted by every ending: nothing more is prepared or run. Its reason is an AttemptEnded. */
  get stopped(): AbortSignal {
    return this.stopper.signal;
  }

  /** Aborted when nothing more is to be uploaded either: by a drain or because it was abandoned. */
  get taken(): AbortSignal {
    return this.taker.signal;
  }

  /** Aborted when the worker stops: there is no time left to report in. */
  get left(): AbortSignal {
    return this.leaver.signal;
  }

  /** No process of the command runs until it is resumed. */
  get paused(): boolean {
    return this.isPaused;
  }

  /** Hands over the command's processes; what was asked for before is done to them at once. */
  runs(tree: ProcessTree): void {
    this.tree = tree;
    if (this.stopped.aborted) tree.end();
    else if (this.toBePaused) void this.pause();
  }

  /**
   * Stops the command's processes; of a command that has not begun yet, once it has.
   * @returns whether they are stopped
   */
  async pause(): Promise<boolean> {
    this.toBePaused = true;
    if (!(await this.tree?.pause())) return false;
    this.isPaused = true;
    return true;
  }

  /** @returns whether they go on */
  async resume(): Promise<boolean> {
    this.toBePaused = false;
    if (!(await this.tree?.resume())) return false;
    this.isPaused = false;
    return true;
  }

  /** @returns false when there is no command to send it to */
  signal(name: string, target: 'main' | 'group'): boolean {
    this.tree?.signal(name, target);
    return this.tree !== undefined;
  }

  /** Hands over what reads the attempt's logs. */
  isWatchedBy(watch: { close(): void }): void {
    this.watch = watch;
  }

  /** Nobody reads the attempt's logs any more: they may be removed. */
  unwatch(): void {
    this.watch?.close();
    this.watch = undefined;
  }

  /** From here on a cancel comes too late: the outcome stands. */
  commandIsOver(): void {
    this.tree = undefined;
    this.over = true;
  }

  /** Ending again the same way does nothing. What belongs to somebody else may run there by now: it gets no grace. */
  end(ending: Ending): void {
    if (ending === 'cancel' && this.over) return;
    const ended = new AttemptEnded(ending);
    this.stopper.abort(ended);
    if (ending !== 'cancel') this.taker.abort(ended);
    if (ending === 'drain') this.leaver.abort(ended);
    if (ending === 'abandon') this.tree?.kill();
    else this.tree?.end();
  }

  /** Leaves the command no grace. */
  kill(): void {
    this.tree?.kill();
  }
}

/** All attempts that this worker holds. */
export class Attempts {
  private readonly held = new Map<string, HeldAttempt>();
  private idleSince = performance.now();

  /** Seconds for which nothing has been held. */
  get idleSeconds(): number {
    return this.held.size > 0 ? 0 : (performance.now() - this.idleSince) / 1000;
  }

  hold(ref: AttemptRef): HeldAttempt {
    const attempt = new HeldAttempt(ref);
    this.held.set(attempt.key, attempt);
    return attempt;
  }

  letGo(attempt: HeldAttempt): void {
    this.held.delete(attempt.key);
    this.idleSince = performance.now();
  }

  find(ref: AttemptRef): HeldAttempt | undefined {
    return this.held.get(attemptKey(ref));
  }

  all(): HeldAttempt[] {
    return [...this.held.values()];
  }
}

export function attemptKey({ jobId, attempt }: AttemptRef): string {
  return `${jobId}-${attempt}`;
}

/** The attempt of a folder's name; undefined when it is no attempt's. */
export function parseAttemptKey(key: string): AttemptRef | undefined {
  const match = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([1-9]\d*)$/.exec(key);
  return match?.[1] ? { jobId: match[1], attempt: Number(match[2]) } : undefined;
}
