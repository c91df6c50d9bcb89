import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import picomatch from 'picomatch';
import { relativePathFault } from '#shared/job/relative-path.js';

export interface FoundFile {
  readonly path: string;
  readonly stats: Stats;
  /** Where it lies, when that is not at its path. */
  readonly source?: string;
}

/** What stood in a workspace before the command ran, by path. */
export type Snapshot = ReadonlyMap<string, string>;

export interface Selection {
  readonly files: readonly FoundFile[];
  /** New or changed files whose names no archive can carry. */
  readonly unusable: number;
}

const ENTRIES_PER_TURN = 500;

/** Remembers the files of a workspace, to tell later which are new or changed. */
export async function takeSnapshot(directory: string): Promise<Snapshot> {
  const files = await findFiles(directory);
  return new Map(files.map(({ path, stats }) => [path, fingerprint(stats)]));
}

/** The new or changed files below `directory` that match `globs`, sorted by path. Links are no files. */
export async function selectOutputs(
  directory: string,
  before: Snapshot,
  globs: readonly string[],
): Promise<Selection> {
  const all = await findFiles(directory);
  const changed = all.filter(({ path, stats }) => before.get(path) !== fingerprint(stats));
  if (changed.length === 0) return { files: [], unusable: 0 };
  const matches = matcher(globs);
  const wanted = changed.filter(({ path }) => matches(path));
  const files = wanted.filter(({ path }) => relativePathFault(path) === undefined);
  files.sort((one, other) => (one.path < other.path ? -1 : 1));
  return { files, unusable: wanted.length - files.length };
}

/**
 * Whether a path matches: any of the globs and none of those that start with `!`. A glob that names a folder
 * takes what is in it. Dot files only where the glob says so.
 */
export function matcher(globs: readonly string[]): (path: string) => boolean {
  const clean = globs.map((glob) => glob.replace(/^(!?)\.\//, '$1').replace(/\/+$/, ''));
  const takes = clean.filter((glob) => !glob.startsWith('!'));
  const leaves = clean.filter((glob) => glob.startsWith('!')).map((glob) => glob.slice(1));
  const withFolders = (patterns: string[]) => patterns.flatMap((glob) => [glob, `${glob}/**`]);
  return picomatch(withFolders(takes.length > 0 ? takes : ['**']), { ignore: withFolders(leaves) });
}

/** Every regular file below `directory`. Synchronous calls, a few hundred at a time: 10,000 files take 60 ms. */
async function findFiles(directory: string): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  const folders = [''];
  let looked = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of readdirSync(join(directory, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) found.push({ path, stats: lstatSync(join(directory, path)) });
      if (++looked % ENTRIES_PER_TURN === 0) await breathe();
    }
  }
  return found;
}

/** Changes whenever a file is written anew. */
export function fingerprint({ size, mtimeMs, ino }: Stats): string {
  return `${size} ${mtimeMs} ${ino}`;
}
