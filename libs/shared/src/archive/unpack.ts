import { createReadStream } from 'node:fs';
import { constants } from 'node:fs';
import { lstat, mkdir, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ArchiveFormat } from './archive.js';
import type { ArchiveEntry, EntryOnTheWay } from './archive-entry.js';
import { archiveEntries } from './archive-entries.js';
import { ArchiveError } from './archive-error.js';
import { EntryRules, quote, type ArchiveLimits } from './entry-rules.js';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;

/**
 * Unpacks the archive `file` below `directory`, which has to exist; answers with the files. Nothing is replaced and
 * no symbolic link followed; of the modes only the executable bit is kept. When it fails, what was unpacked so far
 * lies there: the caller removes the directory.
 * @throws {ArchiveError} it may not be unpacked, with a sentence that names the entry and the remedy
 */
export async function unpackArchive(
  file: string,
  format: ArchiveFormat,
  directory: string,
  limits: Partial<ArchiveLimits> = {},
  signal?: AbortSignal,
): Promise<ArchiveEntry[]> {
  const { size } = await stat(file);
  const source = { size, read: (start: number, end: number) => createReadStream(file, { start, end }) };
  const folders = new Folders(directory);
  const files: ArchiveEntry[] = [];
  for await (const entry of archiveEntries(source, format, new EntryRules(size, limits))) {
    signal?.throwIfAborted();
    if (entry.kind === 'folder') {
      await folders.make(entry.path);
      continue;
    }
    await folders.make(dirname(entry.path));
    await writeEntry(join(directory, entry.path), entry, signal);
    files.push({ path: entry.path, size: entry.size });
  }
  return files;
}

async function writeEntry(path: string, entry: EntryOnTheWay, signal?: AbortSignal): Promise<void> {
  const mode = entry.executable ? 0o755 : 0o644;
  const file = await open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode).catch((error: unknown) => {
    throw exists(error) ? takenError(entry.path) : error;
  });
  let written = 0;
  try {
    for await (const chunk of await entry.open()) {
      signal?.throwIfAborted();
      written += chunk.length;
      if (written > entry.size) break;
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
  }
  if (written !== entry.size) {
    throw new ArchiveError(
      `The entry ${quote(entry.path)} is not of the ${entry.size} bytes that the archive announces; pack and send it again.`,
    );
  }
}

/** Makes folders below a root, each one step at a time so that a link among them is seen and not followed. */
class Folders {
  private readonly made = new Set<string>(['.']);

  constructor(private readonly root: string) {}

  async make(path: string): Promise<void> {
    if (this.made.has(path)) return;
    await this.make(dirname(path));
    const full = join(this.root, path);
    try {
      await mkdir(full);
    } catch (error) {
      if (!exists(error)) throw error;
      if (!(await lstat(full)).isDirectory()) throw takenError(path);
    }
    this.made.add(path);
  }
}

function takenError(path: string): ArchiveError {
  return new ArchiveError(
    `The entry ${quote(path)} stands where another input file already is; give one of them another path.`,
  );
}

function exists(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EEXIST';
}
