import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { startOf } from '#shared/process/start-of.js';

/** One program at a time in a folder; a killed one's claim is void. */

export class FolderLockedError extends Error {
  constructor(
    folder: string,
    readonly pid: number,
  ) {
    super(
      `Another Labhand, process ${pid}, works in ${folder}. Stop it first (kill ${pid}), or give this one a ` +
        'folder and a port of its own with LABHAND_DATA=another-folder LABHAND_PORT=8081.',
    );
  }
}

/**
 * Takes the lock file; the function that is returned gives it back.
 * @throws {FolderLockedError} a living program has it
 */
export function lockFolder(folder: string): () => void {
  const file = `${folder}/lock`;
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, JSON.stringify({ pid: process.pid, started: startOf(process.pid) }), { mode: 0o600 });
  try {
    take(folder, file, mine);
  } finally {
    rmSync(mine, { force: true });
  }
  return () => rmSync(file, { force: true });
}

function take(folder: string, file: string, mine: string): void {
  try {
    // A link, unlike a file opened for writing, is there with its content or not at all.
    linkSync(mine, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const holder = livingHolder(file);
    if (holder !== undefined) throw new FolderLockedError(folder, holder);
    rmSync(file, { force: true });
    linkSync(mine, file);
  }
}

function livingHolder(file: string): number | undefined {
  try {
    const { pid, started } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; started: string };
    return started !== '' && startOf(pid) === started ? pid : undefined;
  } catch {
    return undefined;
  }
}
