import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { startOf } from './start-of.js';

/** One program at a time in a folder; a killed one's claim is void. */

/**
 * Takes the file `lock` in the folder; the function that is returned gives it back.
 * @param refusal what is thrown when a living program, of this process id, has it
 */
export function lockFolder(folder: string, refusal: (pid: number) => Error): () => void {
  const file = `${folder}/lock`;
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, JSON.stringify({ pid: process.pid, started: startOf(process.pid) }), { mode: 0o600 });
  try {
    take(file, mine, refusal);
  } finally {
    rmSync(mine, { force: true });
  }
  return () => rmSync(file, { force: true });
}

function take(file: string, mine: string, refusal: (pid: number) => Error): void {
  for (;;) {
    if (linked(mine, file)) return;
    refuseLiving(file, refusal);
    // Away with what is void; but another one may have found it void as well, and have taken its place by now.
    const away = `${mine}.void`;
    if (!moved(file, away)) continue;
    try {
      refuseLiving(away, refusal);
    } catch (error) {
      linked(away, file);
      throw error;
    } finally {
      rmSync(away, { force: true });
    }
  }
}

/** A link, unlike a file opened for writing, is there with its content or not at all. */
function linked(from: string, to: string): boolean {
  return succeeds(() => linkSync(from, to), 'EEXIST');
}

function moved(from: string, to: string): boolean {
  return succeeds(() => renameSync(from, to), 'ENOENT');
}

function succeeds(action: () => void, failure: string): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== failure) throw error;
    return false;
  }
}

function refuseLiving(file: string, refusal: (pid: number) => Error): void {
  const pid = livingHolder(file);
  if (pid !== undefined) throw refusal(pid);
}

function livingHolder(file: string): number | undefined {
  try {
    const { pid, started } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; started: string };
    return started !== '' && startOf(pid) === started ? pid : undefined;
  } catch {
    return undefined;
  }
}
