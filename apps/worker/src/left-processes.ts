import { Logger } from '@nestjs/common';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { attemptKey } from './attempts.js';
import type { AttemptRef } from '#shared/messages/messages.js';

/**
 * What a dead run of the worker left running: where its launcher was killed too, nobody else ends it, and the jobs
 * are about to run elsewhere. Processes are known by the environment that every command is started with.
 */

const LOOK_EVERY_MS = 20;
/** What hangs in the kernel for longer has to be left to it. */
const PATIENCE_MS = 10_000;

/** Kills all processes of these attempts; resolves when none is left. Does nothing where there is no /proc. */
export async function endLeftProcesses(attempts: readonly AttemptRef[]): Promise<void> {
  if (attempts.length === 0) return;
  const keys = new Set(attempts.map(attemptKey));
  const deadline = performance.now() + PATIENCE_MS;
  for (let round = 0; performance.now() < deadline; round++) {
    const left = processIds().filter((pid) => keys.has(attemptOf(pid)));
    if (left.length === 0) return;
    if (round === 0) {
      new Logger('left-processes').warn(
        `${left.length} processes of the last run still live and are killed.`,
      );
    }
    left.forEach(kill);
    await pause(LOOK_EVERY_MS);
  }
}

function processIds(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/** The key of the attempt that a process belongs to; of one that is dead or another user's, nothing. */
function attemptOf(pid: number): string {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
    const value = (name: string) =>
      environment.find((it) => it.startsWith(`${name}=`))?.slice(name.length + 1);
    return `${value('LABHAND_JOB_ID')}-${value('LABHAND_ATTEMPT')}`;
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}
