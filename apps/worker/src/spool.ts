import { Logger } from '@nestjs/common';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AttemptRef, Outcome } from '#shared/messages/messages.js';
import { parseAttemptKey } from './attempts.js';
import { BlankFiles } from './blank-files.js';

/** An attempt's files in the state directory: what has to outlive the worker's process. */
export class SpoolFiles {
  /** Those that were asked for, whether or not they were made. */
  readonly paths = new Set<string>();
  readonly stdout: string;
  readonly stderr: string;

  constructor(private readonly stem: string) {
    this.stdout = this.path('stdout');
    this.stderr = this.path('stderr');
  }

  get archive(): string {
    return this.path('outputs.zip');
  }

  get listing(): string {
    return this.path('outputs.json');
  }

  path(name: string): string {
    const path = `${this.stem}.${name}`;
    this.paths.add(path);
    return path;
  }
}

/** The files of an attempt that the gateway takes, by the names that it takes them under. */
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
 * The attempts of this worker as its next start finds them. Files without an outcome are of an attempt that is
 * under way, so the log that every attempt has from its first moment is the journal of what is held.
 *
 * All lie in one folder: making and removing one for each attempt costs ext4 more than all its files. Nothing is
 * synced to the disk: the death of the process is survived without it, and after a power cut the lease runs out
 * and the job runs again. An outcome torn by it counts as none.
 */
export class Spool {
  private readonly logger = new Logger('spool');
  private readonly root: string;
  private readonly blanks: BlankFiles;
  /** Of the attempts that began in this run. */
  private readonly opened = new Map<string, SpoolFiles>();

  /** @param sureEnd nothing of a command lives on that could still write to its log */
  constructor(
    stateDir: string,
    private readonly sureEnd = false,
  ) {
    this.root = join(stateDir, 'attempts');
    mkdirSync(this.root, { recursive: true, mode: 0o700 });
    this.blanks = new BlankFiles(join(stateDir, 'blank'));
  }

  /** @throws when an attempt of this key has files already */
  open(key: string): SpoolFiles {
    const files = this.at(key);
    this.blanks.place(files.stdout);
    this.blanks.place(files.stderr);
    this.opened.set(key, files);
    return files;
  }

  at(key: string): SpoolFiles {
    return this.opened.get(key) ?? new SpoolFiles(join(this.root, key));
  }

  /** A full disk does not keep an outcome from being sent; it only will not survive the worker. */
  write(key: string, entry: SpoolEntry): void {
    try {
      writeFileSync(this.at(key).path(OUTCOME), JSON.stringify(entry), { mode: 0o600 });
    } catch (error) {
      this.logger.warn(`The outcome of the attempt ${key} could not be kept: ${(error as Error).message}`);
    }
  }

  /** Never throws; what cannot be removed is tried again by the next start. */
  remove(key: string): void {
    try {
      for (const path of this.opened.get(key)?.paths ?? this.found(key)) this.removeFile(path);
      this.opened.delete(key);
    } catch (error) {
      this.logger.warn(`Files of the attempt ${key} could not be removed: ${(error as Error).message}`);
    }
  }

  leftovers(): Leftovers {
    const entries: SpoolEntry[] = [];
    const dead: AttemptRef[] = [];
    for (const key of new Set(readdirSync(this.root).map(keyOf))) {
      const ref = parseAttemptKey(key);
      if (!ref) continue;
      const entry = this.read(key);
      if (entry) entries.push(entry);
      else dead.push(ref);
    }
    return { entries, dead };
  }

  /** Of an attempt that an earlier run of the worker began. */
  private found(key: string): string[] {
    const names = readdirSync(this.root).filter((name) => keyOf(name) === key);
    return names.map((name) => join(this.root, name));
  }

  private removeFile(path: string): void {
    if (this.sureEnd) this.blanks.remove(path);
    else rmSync(path, { force: true });
  }

  private read(key: string): SpoolEntry | undefined {
    try {
      return JSON.parse(readFileSync(this.at(key).path(OUTCOME), 'utf8')) as SpoolEntry;
    } catch {
      return undefined;
    }
  }
}

/** Keys have no dots. */
function keyOf(name: string): string {
  return name.slice(0, name.indexOf('.'));
}
