import { Logger } from '@nestjs/common';
import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { AttemptRef, Outcome } from '#shared/messages/messages.js';
import { parseAttemptKey } from './attempts.js';
import { HeldTable } from './held-table.js';

/** An attempt's files in the state directory: what has to outlive the worker's process. */
export class SpoolFiles {
  readonly stdout: string;
  readonly stderr: string;
  /** What was asked for beside the logs, whether or not it was made. */
  readonly others = new Set<string>();

  /** @param stem what all their paths begin with, up to a dot */
  constructor(private readonly stem: string) {
    this.stdout = `${stem}.stdout`;
    this.stderr = `${stem}.stderr`;
  }

  get archive(): string {
    return this.path('outputs.zip');
  }

  get listing(): string {
    return this.path('outputs.json');
  }

  path(name: string): string {
    const path = `${this.stem}.${name}`;
    if (path !== this.stdout && path !== this.stderr) this.others.add(path);
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

const TABLE = 'held';
const OUTCOME = 'outcome.json';
/** Nobody's but the worker's; a command that runs as its user may change that of its own. */
export const LOG_MODE = 0o600;

interface NumberedFiles {
  readonly number: number;
  readonly files: SpoolFiles;
  /** Its logs are there, and empty. */
  blank: boolean;
}

/**
 * The attempts of this worker as its next start finds them: numbered sets of files, and a table of whose they are.
 * A set without an outcome is of an attempt that is under way.
 *
 * Sets are used again, their logs too: a file system takes longer to make, rename or remove a file than most short
 * commands write. Nothing is synced to the disk: the death of the process is survived without it, and after a power
 * cut the lease runs out and the job runs again. An outcome torn by it counts as none.
 */
export class Spool {
  private readonly logger = new Logger('spool');
  private readonly root: string;
  private readonly table: HeldTable;
  private readonly held = new Map<string, NumberedFiles>();
  /** Of attempts that are over. */
  private readonly free: NumberedFiles[] = [];
  /** The first number that no set has. */
  private next: number;

  /**
   * What the last run held stays, until it is removed; what else it left goes.
   * @param sureEnd nothing of a command lives on that could still write to its log
   */
  constructor(
    stateDir: string,
    private readonly sureEnd = false,
  ) {
    this.root = join(stateDir, 'attempts');
    mkdirSync(this.root, { recursive: true, mode: 0o700 });
    this.table = new HeldTable(join(this.root, TABLE));
    const left = this.table.read();
    for (const [number, key] of left) {
      if (parseAttemptKey(key)) this.held.set(key, this.numbered(number));
      // A power cut may leave anything in a line.
      else if (left.delete(number)) this.table.free(number);
    }
    this.next = Math.max(-1, ...left.keys()) + 1;
    this.sortOut(left);
  }

  /** @throws when an attempt of this key has files already, or the disk takes no more */
  open(key: string): SpoolFiles {
    if (this.held.has(key)) throw new Error(`the attempt ${key} has files in ${this.root} already`);
    const set = this.free.pop() ?? this.numbered(this.next++);
    try {
      if (!set.blank) makeLogs(set.files);
      set.blank = true;
      this.table.take(set.number, key);
    } catch (error) {
      this.free.push(set);
      throw error;
    }
    this.held.set(key, set);
    return set.files;
  }

  /** @throws when no attempt of this key has files */
  at(key: string): SpoolFiles {
    const set = this.held.get(key);
    if (!set) throw new Error(`no attempt ${key} has files in ${this.root}`);
    return set.files;
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
    const set = this.held.get(key);
    if (!set) return;
    try {
      this.empty(set);
      this.table.free(set.number);
      this.held.delete(key);
      this.free.push(set);
    } catch (error) {
      this.logger.warn(`Files of the attempt ${key} could not be removed: ${(error as Error).message}`);
    }
  }

  leftovers(): Leftovers {
    const entries: SpoolEntry[] = [];
    const dead: AttemptRef[] = [];
    for (const key of this.held.keys()) {
      const [ref, entry] = [parseAttemptKey(key), this.read(key)];
      if (entry) entries.push(entry);
      else if (ref) dead.push(ref);
    }
    return { entries, dead };
  }

  /** Leaves nothing but what the next start has to find. */
  close(): void {
    for (const { files } of this.free.splice(0)) removeLogs(files);
    this.table.close(this.held.size === 0);
  }

  private numbered(number: number): NumberedFiles {
    return { number, files: new SpoolFiles(join(this.root, String(number))), blank: false };
  }

  /** Removes what is nobody's, and tells the sets of the last run what they have beside their logs. */
  private sortOut(left: ReadonlyMap<number, string>): void {
    for (const file of readdirSync(this.root)) {
      if (file === TABLE) continue;
      const [number, ...name] = file.split('.');
      const key = left.get(Number(number));
      if (key === undefined) rmSync(join(this.root, file), { recursive: true, force: true });
      else this.at(key).path(name.join('.'));
    }
  }

  private empty(set: NumberedFiles): void {
    const { files } = set;
    for (const path of files.others) rmSync(path, { force: true });
    files.others.clear();
    set.blank = this.sureEnd && logsOf(files).every(emptyLog);
    if (!set.blank) removeLogs(files);
  }

  private read(key: string): SpoolEntry | undefined {
    try {
      return JSON.parse(readFileSync(this.at(key).path(OUTCOME), 'utf8')) as SpoolEntry;
    } catch {
      return undefined;
    }
  }
}

function logsOf({ stdout, stderr }: SpoolFiles): string[] {
  return [stdout, stderr];
}

function makeLogs(files: SpoolFiles): void {
  removeLogs(files);
  for (const log of logsOf(files)) closeSync(openSync(log, 'wx', LOG_MODE));
}

function removeLogs(files: SpoolFiles): void {
  for (const log of logsOf(files)) rmSync(log, { force: true });
}

/** @returns false when it is not as it was made, which a command may do that has it as its output */
function emptyLog(log: string): boolean {
  const stats = lstatSync(log, { throwIfNoEntry: false });
  if (stats?.mode !== (constants.S_IFREG | LOG_MODE) || stats.nlink !== 1) return false;
  if (stats.size > 0) truncateSync(log);
  return true;
}
