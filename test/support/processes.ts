import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startGuard } from './guard.js';

/** The build, in the checkout that everything is started in; `npm test` builds before it tests. */
const DIST = resolve('dist');

/** One of the built programs as a process, which may be killed and started again with the same settings. */
export class Program {
  private child?: ChildProcess;
  private expected = false;
  /** Set when it ended without having been told to. */
  fault?: string;

  /**
   * @param name for messages and for the log file
   * @param script below dist, and its arguments
   * @param folder of its log
   */
  constructor(
    readonly name: string,
    private readonly script: readonly [main: string, ...args: string[]],
    private readonly folder: string,
    private readonly environment: Readonly<Record<string, string>>,
  ) {
    mkdirSync(folder, { recursive: true });
  }

  get pid(): number {
    return this.child!.pid!;
  }

  start(): void {
    const [main, ...args] = this.script;
    const log = openSync(this.logFile, 'a');
    const child = spawn(process.execPath, [join(DIST, main), ...args], {
      cwd: this.folder,
      env: { PATH: process.env.PATH, ...this.environment },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.child = child;
    this.expected = false;
    // When the test run is killed, it takes the program along.
    const guard = startGuard('read -r line; kill -9 "$0"', String(child.pid));
    child.once('exit', (code, signal) => {
      guard.kill('SIGKILL');
      if (!this.expected) this.fault = `${this.name} ended by itself (${code ?? signal})`;
    });
  }

  /** Resolves with the exit code when it is gone. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    this.expected = true;
    const gone = once(child, 'exit');
    child.kill(signal);
    // A stopped process hears nothing but KILL.
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
    await gone;
    return child.exitCode;
  }

  get isOver(): boolean {
    return this.child!.exitCode !== null || this.child!.signalCode !== null;
  }

  signal(signal: NodeJS.Signals): void {
    this.child!.kill(signal);
  }

  get log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  private get logFile(): string {
    return join(this.folder, `${this.name}.log`);
  }
}

/** The processes that a process started, and those that these started, as they are now. */
export function descendants(pid: number): number[] {
  const children = childrenOf(pid);
  return [...children, ...children.flatMap(descendants)];
}

/**
 * The longest file that a process may write or extend from now on, in bytes: a full disk to it, which an ordinary
 * user can make too. Its children inherit it. One that has ended meanwhile writes nothing anyway.
 */
export function limitFiles(pid: number, bytes: number | 'unlimited'): void {
  try {
    // As its own user: a root may lack the right. The soft limit alone, so that it can be lifted again.
    const { uid, gid } = statSync(`/proc/${pid}`);
    const own = uid === process.getuid!() ? {} : { uid, gid };
    execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`], own);
  } catch (error) {
    if (existsSync(`/proc/${pid}`)) throw error;
  }
}

export function childrenOf(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    return threads.flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** Pids of processes whose environment holds all of these texts; another user's are not seen. */
export function processesWith(...texts: string[]): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && texts.every((text) => environmentOf(pid).includes(text)));
}

/** Pids of what jobs of workers below `folder` started. */
export function jobProcesses(folder: string): number[] {
  return processesWith('LABHAND_JOB_ID=', folder);
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return '';
  }
}
