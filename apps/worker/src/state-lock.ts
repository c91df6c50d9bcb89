import { mkdirSync } from 'node:fs';
import { lockFolder } from '#shared/process/folder-lock.js';

/** Another worker lives on the state directory: two would report each other's attempts as dead. */
export class StateDirTakenError extends Error {
  constructor(stateDir: string, pid: number) {
    super(
      `Another worker, process ${pid}, keeps its state in ${stateDir}. Stop it first, or give this one a directory ` +
        'of its own with LABHAND_STATE_DIR.',
    );
  }
}

/**
 * Takes the state directory for this process; the function that is returned gives it back.
 * @throws {StateDirTakenError}
 */
export function lockStateDir(stateDir: string): () => void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  return lockFolder(stateDir, (pid) => new StateDirTakenError(stateDir, pid));
}
