import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeTree } from './remove-tree.js';

/**
 * What one attempt's command sees and may write to. Logs, the launcher's record and the outcome are not here
 * but in the attempt's spool folder, out of the command's way.
 */
export interface Workspace {
  readonly root: string;
  /** The working directory: inputs land here, outputs are taken from here. */
  readonly directory: string;
  /** HOME and TMPDIR: what programs drop there is no output. */
  readonly home: string;
  /** LABHAND_PROGRESS. */
  readonly progress: string;
}

/** A fresh folder per attempt. */
export class Workspaces {
  constructor(private readonly workDir: string) {
    mkdirSync(workDir, { recursive: true, mode: 0o700 });
  }

  /** Synchronous like the rest of a short job's few folder calls: the thread pool costs more than the call. */
  create(key: string): Workspace {
    const workspace = this.at(key);
    mkdirSync(workspace.root, 0o700);
    mkdirSync(workspace.directory);
    mkdirSync(workspace.home);
    return workspace;
  }

  async remove(key: string): Promise<void> {
    const { root, directory, home } = this.at(key);
    try {
      rmdirSync(directory);
      rmdirSync(home);
      rmdirSync(root);
    } catch {
      await removeTree(root);
    }
  }

  private at(key: string): Workspace {
    const root = join(this.workDir, key);
    return {
      root,
      directory: join(root, 'work'),
      home: join(root, 'home'),
      progress: join(root, 'progress'),
    };
  }
}
