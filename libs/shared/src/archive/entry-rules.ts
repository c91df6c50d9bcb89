import { PathSet } from '../job/path-set.js';
import { relativePathFault } from '../job/relative-path.js';
import { ArchiveError } from './archive-error.js';

export interface ArchiveLimits {
  /** Files and folders. */
  readonly entries: number;
  /** Bytes of all files when unpacked. */
  readonly bytes: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = { entries: 100_000, bytes: 64 * 2 ** 30 };

/** DEFLATE reaches 1032 to 1, honest data hardly a tenth of that; zips whose entries overlap and zstd reach millions. */
const MAX_RATIO = 1000;
const RATIO_ALLOWANCE = 100 * 2 ** 20;

/**
 * What an archive may hold. The gateway asks on a stored archive and the worker while unpacking: both go by this,
 * so what the gateway took the worker can unpack.
 */
export class EntryRules {
  private readonly paths = new PathSet();
  private readonly limits: ArchiveLimits;
  private total = 0;

  constructor(
    private readonly packedBytes: number,
    limits: Partial<ArchiveLimits>,
  ) {
    this.limits = { ...ARCHIVE_LIMITS, ...limits };
  }

  /**
   * The path of an entry as it lands in the workspace; undefined for the folder that the archive was made of (`./`).
   * @throws {ArchiveError}
   */
  admit(name: string, kind: 'file' | 'folder'): string | undefined {
    const path = plainName(name, kind);
    if (path === '' && kind === 'folder') return undefined;
    const fault = relativePathFault(path);
    if (fault) {
      throw new ArchiveError(
        `The entry ${quote(name)} ${fault}; pack the files with relative paths such as data/protein.pdb.`,
      );
    }
    const clash = kind === 'file' ? this.paths.addFile(path) : this.paths.addFolder(path);
    if (clash) throw clashError(clash);
    if (this.paths.size > this.limits.entries) {
      throw new ArchiveError(
        `The archive holds more than ${count(this.limits.entries)} files and folders; pack fewer, or pack them twice.`,
      );
    }
    return path;
  }

  /**
   * Counts bytes of unpacked data, announced or real.
   * @throws {ArchiveError} a limit is passed
   */
  addBytes(bytes: number): void {
    this.total += bytes;
    if (this.total > this.limits.bytes) {
      throw new ArchiveError(
        `The archive unpacks to more than the ${count(this.limits.bytes)} bytes allowed; send less data at once.`,
      );
    }
    this.checkRatio(this.total);
  }

  /**
   * @param total bytes that came out so far
   * @throws {ArchiveError} more than honest data can be packed
   */
  checkRatio(total: number): void {
    if (total > this.packedBytes * MAX_RATIO + RATIO_ALLOWANCE) {
      throw new ArchiveError(
        `The archive unpacks to more than ${MAX_RATIO} times its size, as zip bombs do; send such files as they are.`,
      );
    }
  }
}

/** @throws {ArchiveError} always: only regular files and folders can be unpacked */
export function refuseKind(name: string, what: string): never {
  throw new ArchiveError(
    `The entry ${quote(name)} is ${what}; only regular files and folders are unpacked, so pack a copy of the file instead.`,
  );
}

export function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

function plainName(name: string, kind: 'file' | 'folder'): string {
  const below = name.replace(/^(?:\.\/+)+/, '');
  if (kind === 'file') return below;
  return below === '.' ? '' : below.replace(/\/+$/, '');
}

function clashError([first, second]: [string, string]): ArchiveError {
  return new ArchiveError(
    first === second
      ? `The archive holds ${quote(first)} twice; pack each file once.`
      : `The archive holds ${quote(first)} as a file and also as a folder (${quote(second)}); rename one.`,
  );
}

function count(number: number): string {
  return number.toLocaleString('en-US');
}
