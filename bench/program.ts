import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 5;
const STOP_TIMEOUT_MS = 20_000;

/** A program as a real process, with its output in a file. */
export class Program {
  private constructor(
    private readonly child: ChildProcess,
    /** Milliseconds from the start of the process until it said that it is ready. */
    readonly startMs: number,
  ) {}

  /**
   * @param isReady asked again and again
   * @throws {Error} it ends first, or takes longer than a minute
   */
  static async start(
    [program, ...args]: readonly [string, ...string[]],
    env: Readonly<Record<string, string>>,
    log: string,
    isReady: () => Promise<boolean> | boolean,
  ): Promise<Program> {
    const output = openSync(log, 'a');
    const began = performance.now();
    const child = spawn(program, args, { env: { ...env }, stdio: ['ignore', output, output] });
    // One that cannot be started has an exit code too.
    child.on('error', () => undefined);
    closeSync(output);
    while (!(await isReady())) {
      if (child.exitCode !== null || performance.now() - began > READY_TIMEOUT_MS) {
        child.kill('SIGKILL');
        throw new Error(
          `${[program, ...args].join(' ')} did not become ready:\n${readFileSync(log, 'utf8').slice(-2000)}`,
        );
      }
      await pause(POLL_MS);
    }
    return new Program(child, performance.now() - began);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** As a crash would end it; resolves when it is gone. */
  async kill(): Promise<void> {
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const patience = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    this.child.kill('SIGTERM');
    await once(this.child, 'exit');
    clearTimeout(patience);
  }
}

/** Whether a GET is answered with 200. */
export async function answersOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.text();
    return response.ok;
  } catch {
    return false;
  }
}
