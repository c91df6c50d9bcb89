import { Logger } from '@nestjs/common';
import { mkdirSync, readFileSync, readdirSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AttemptRef, Outcome } from '#shared/messages/messages.js';
import { parseAttemptKey } from './attempts.js';

/** An attempt's folder in the state directory: what has to outlive the worker's process. */
export interface SpoolFolder {
  readonly path: string;
  readonly stdout: string;
  readonly stderr: string;
  /** The launcher's own note of how the command ended. */
  readonly record: string;
  readonly archive: string;
  readonly listing: string;
}

/** The files of a spool folder that the gateway takes, by the names that it takes them under. */
export const UPLOADS = ['outputs.zip', 'outputs.json', 'stdout', 'stderr'] as const;
export type Upload = (typeof UPLOADS)[number];

/** An outcome that the gateway has not recorded yet, with what has to be uploaded before. */
export interface SpoolEntry extends AttemptRef {
  readonly filesToken: string;
  readonly uploads: readonly Upload[];
  readonly outcome: Outcome;
}

export interface Leftovers {
  /** Ended, and perhaps not recorded: to be sent again. */
  readonly entries: SpoolEntry[];
  /** Died with the worker that held them. */
  readonly dead: AttemptRef[];
}

const OUTCOME = 'outcome.json';

/**
 * The attempts of this worker as its next start finds them. A folder without an outcome is an attempt that is
 * under way, so the folder itself is the journal of what is held.
 *
 * Nothing is synced to the disk: the death of the process is survived without it, and after a power cut the
 * lease runs out and the job runs again. An outcome torn by it counts as none.
 */
export class Spool {
  private readonly logger = new Logger('spool');
  private readonly root: string;

  constructor(stateDir: string) {
    this.root = join(stateDir, 'attempts');
    mkdirSync(this.root, { recursive: true, mode: 0o700 });
  }

  open(key: string): SpoolFolder {
    const folder = this.at(key);
    mkdirSync(folder.path, 0o700);
    return folder;
  }

  at(key: string): SpoolFolder {
    const path = join(this.root, key);
    return {
      path,
      stdout: join(path, 'stdout'),
      stderr: join(path, 'stderr'),
      record: join(path, 'record.json'),
      archive: join(path, 'outputs.zip'),
      listing: join(path, 'outputs.json'),
    };
  }

  /** A full disk does not keep an outcome from being sent; it only will not survive the worker. */
  write(key: string, entry: SpoolEntry): void {
    try {
      writeFileSync(join(this.root, key, OUTCOME), JSON.stringify(entry), { mode: 0o600 });
    } catch (error) {
      this.logger.warn(`The outcome of the attempt ${key} could not be kept: ${(error as Error).message}`);
    }
  }

  async remove(key: string): Promise<void> {
    const folder = join(this.root, key);
    try {
      for (const name of readdirSync(folder)) unlinkSync(join(folder, name));
      rmdirSync(folder);
    } catch {
      await rm(folder, { recursive: true, force: true });
    }
  }

  leftovers(): Leftovers {
    const entries: SpoolEntry[] = [];
    const dead: AttemptRef[] = [];
    for (const name of readdirSync(this.root)) {
      const ref = parseAttemptKey(name);
      if (!ref) continue;
      const entry = this.read(name);
      if (entry) entries.push(entry);
      else dead.push(ref);
    }
    return { entries, dead };
  }

  private read(key: string): SpoolEntry | undefined {
    try {
      return JSON.parse(readFileSync(join(this.root, key, OUTCOME), 'utf8')) as SpoolEntry;
    } catch {
      return undefined;
    }
  }
}
