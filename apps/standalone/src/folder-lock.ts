import { lockFolder } from '#shared/process/folder-lock.js';

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
 * Takes the data folder for this process; the function that is returned gives it back.
 * @throws {FolderLockedError} a living program has it
 */
export function lockDataFolder(folder: string): () => void {
  return lockFolder(folder, (pid) => new FolderLockedError(folder, pid));
}
