import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { startOf } from '#shared/process/start-of.js';

/**
 * A worker that is killed leaves a launcher that ends its trees, with their grace time. Until it is gone its commands
 * may live: nothing of theirs can be removed, and their jobs cannot run anew.
 */

interface Note {
  readonly pid: number;
  readonly started: string;
}

const NOTES = 'launchers.json';
const LOOK_EVERY_MS = 50;

/** For the next start on this state directory. One that took another one's place is noted beside it. */
export function noteLauncher(stateDir: string, pid: number): void {
  const file = join(stateDir, NOTES);
  const notes: Note[] = [...read(file).filter(lives), { pid, started: startOf(pid) }];
  writeFileSync(`${file}.new`, JSON.stringify(notes), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/**
 * Resolves when the launchers of the last run are gone, and with them all that they ran.
 * @param own the launcher of this run
 */
export async function lastLaunchersGone(stateDir: string, own: number | undefined): Promise<void> {
  const others = read(join(stateDir, NOTES)).filter(({ pid }) => pid !== own);
  for (const note of others.filter(lives)) {
    new Logger('last-launchers').log(
      `The launcher of the last run, process ${note.pid}, still ends its commands.`,
    );
    while (lives(note)) await pause(LOOK_EVERY_MS);
  }
}

function lives({ pid, started }: Note): boolean {
  return started !== '' && startOf(pid) === started;
}

function read(file: string): Note[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Note[];
  } catch {
    return [];
  }
}
