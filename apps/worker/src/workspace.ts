import { Logger } from '@nestjs/common';
import { lchownSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeTree } from './remove-tree.js';

/**
 * What one attempt's command sees and may write to. Logs and the outcome are not here but in the spool, out of
 * the command's way.
 */
export interface Workspace {
  readonly root: string;
  /** The working directory: inputs land here, outputs are taken from here. */
  readonly directory: string;
  /** HOME and TMPDIR: what programs drop there is no output. */
  readonly home: string;
  /** LABHAND_PROGRESS. */
  readonly progress: string;
  /** User and group of the command; undefined: the worker's. */
  readonly user?: number;
}

/** An empty workspace per attempt, and the only one that it is in. */
export class Workspaces {
  private readonly logger = new Logger('workspaces');
  /** Given back empty and as they were made: making folders anew costs a short job more than all else. */
  private readonly free: MadeWorkspace[] = [];
  private made = 0;
  /** Users of workspaces that were removed, for new ones. */
  private readonly freeUsers: number[] = [];
  private users = 0;

  private firstUser?: number;

  /** @param owner the worker; others may keep theirs in the same folder */
  constructor(
    private readonly workDir: string,
    private readonly owner: string,
  ) {
    mkdirSync(workDir, { recursive: true, mode: 0o700 });
  }

  /** @param first of as many as there are workspaces at once, where commands run as users of their own */
  giveUsersFrom(first: number | undefined): void {
    this.firstUser = first;
  }

  take(): Workspace {
    return this.free.pop() ?? this.make();
  }

  /** Never rejects: a workspace that cannot be removed is left for the next start to try again. */
  async giveBack(workspace: Workspace): Promise<void> {
    const made = workspace as MadeWorkspace;
    if (isAsMade(made)) this.free.push(made);
    else if ((await this.remove(made.root)) && made.user !== undefined) this.freeUsers.push(made.user);
  }

  /** Removes all that this worker ever made here; none may be in use. */
  async clear(): Promise<void> {
    this.free.length = 0;
    const mine = readdirSync(this.workDir).filter((name) => this.isMine(name));
    for (const name of mine) await this.remove(join(this.workDir, name));
  }

  private isMine(name: string): boolean {
    return name.startsWith(`${this.owner}.`) && /^\d+$/.test(name.slice(this.owner.length + 1));
  }

  private make(): MadeWorkspace {
    const root = join(this.workDir, `${this.owner}.${++this.made}`);
    const [directory, home] = [join(root, 'work'), join(root, 'home')];
    mkdirSync(root, 0o700);
    mkdirSync(directory);
    mkdirSync(home);
    const folders = [root, directory, home];
    const user = this.takeUser();
    if (user !== undefined) for (const folder of folders) lchownSync(folder, user, user);
    return { root, directory, home, progress: join(root, 'progress'), user, changed: folders.map(changeOf) };
  }

  private takeUser(): number | undefined {
    if (this.firstUser === undefined) return undefined;
    return this.freeUsers.pop() ?? this.firstUser + this.users++;
  }

  private async remove(root: string): Promise<boolean> {
    try {
      await removeTree(root);
      return true;
    } catch (error) {
      this.logger.warn(`The workspace ${root} could not be removed: ${(error as Error).message}`);
      return false;
    }
  }
}

interface MadeWorkspace extends Workspace {
  /** When its root and folders were changed last, as they were made: milliseconds since 1970. */
  readonly changed: readonly number[];
}

/**
 * Neither rights nor attributes of a folder that a command changed, or what it left, are for the next one. Synchronous:
 * for a few calls on a local disk the thread pool costs more than they do.
 */
function isAsMade({ root, directory, home, changed }: MadeWorkspace): boolean {
  try {
    return (
      [root, directory, home].every((folder, nth) => changeOf(folder) === changed[nth]) &&
      readdirSync(root).length === 2 &&
      readdirSync(directory).length === 0 &&
      readdirSync(home).length === 0
    );
  } catch {
    return false;
  }
}

function changeOf(path: string): number {
  return lstatSync(path).ctimeMs;
}
