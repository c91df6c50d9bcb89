import { closeSync, createReadStream } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { relativePathFault } from '#shared/job/relative-path.js';
import type { FetchOrder, FetchReply, ListReply } from '#shared/messages/messages.js';
import { HeldFolder, openBeneath } from './beneath.js';
import type { FileAccess, FilesClient } from './files-client.js';
import { fingerprint, matcher, type Snapshot } from './output-files.js';

const MOST_LISTED = 5000;
const MOST_LOOKED_AT = 100_000;
const DEEPEST = 100;
const ENTRIES_PER_TURN = 500;

type ListedFile = NonNullable<ListReply['files']>[number];

/** What a running command has written so far of what would be its outputs if it ended now. */
export class PartialFiles {
  /** Made when somebody asks: for most jobs nobody does. */
  private matcher?: (path: string) => boolean;

  /**
   * @param before what stood there before the command began: inputs are shown only once they are changed
   * @param globs of the job's outputs
   */
  constructor(
    private readonly access: FileAccess,
    private readonly directory: string,
    private readonly before: Snapshot,
    private readonly globs: readonly string[],
  ) {}

  /** Sorted by path. @param path only this one */
  async list(path: string | undefined): Promise<ListReply> {
    if (path !== undefined) return { files: this.one(path), more: false };
    const files: ListedFile[] = [];
    const more = await this.collect(HeldFolder.open(this.directory), '', 0, files, { looked: 0 });
    files.sort((one, other) => (one.path < other.path ? -1 : 1));
    return { files, more };
  }

  /** Uploads a part of a file under the name of the transfer. */
  async send({ path, start, end, transfer }: FetchOrder, files: FilesClient): Promise<FetchReply> {
    const found = this.open(path);
    if (!found) return { status: 'gone' };
    if (end >= found.stats.size || start > end) {
      closeSync(found.fd);
      return { status: 'gone' };
    }
    const content = createReadStream('', { fd: found.fd, start, end });
    await files.putPart(this.access, transfer, content, end - start + 1);
    return { status: 'sent' };
  }

  private matches(path: string): boolean {
    this.matcher ??= matcher(this.globs);
    return this.matcher(path);
  }

  private one(path: string): ListedFile[] {
    const found = this.open(path);
    if (!found) return [];
    closeSync(found.fd);
    return [listed(path, found.stats)];
  }

  private open(path: string): ReturnType<typeof openBeneath> {
    if (relativePathFault(path) !== undefined || !this.matches(path)) return undefined;
    const found = openBeneath(this.directory, path);
    if (!found || this.before.get(path) !== fingerprint(found.stats)) return found;
    closeSync(found.fd);
    return undefined;
  }

  /** @returns whether something was left out */
  private async collect(
    folder: HeldFolder,
    prefix: string,
    depth: number,
    files: ListedFile[],
    count: { looked: number },
  ): Promise<boolean> {
    let more = false;
    try {
      for (const entry of folder.entries()) {
        if (files.length >= MOST_LISTED || ++count.looked > MOST_LOOKED_AT) return true;
        if (count.looked % ENTRIES_PER_TURN === 0) await breathe();
        const path = prefix + entry.name;
        if (entry.isFile()) this.add(folder, entry.name, path, files);
        if (!entry.isDirectory()) continue;
        const below = depth < DEEPEST ? tryTo(() => folder.folder(entry.name)) : undefined;
        const rest = below ? await this.collect(below, `${path}/`, depth + 1, files, count) : true;
        more ||= rest;
      }
    } finally {
      folder.close();
    }
    return more;
  }

  private add(folder: HeldFolder, name: string, path: string, files: ListedFile[]): void {
    if (relativePathFault(path) !== undefined || !this.matches(path)) return;
    const stats = tryTo(() => folder.stats(name));
    if (stats?.isFile() && this.before.get(path) !== fingerprint(stats)) files.push(listed(path, stats));
  }
}

function listed(path: string, { size, mtime }: { size: number; mtime: Date }): ListedFile {
  return { path, size, modifiedAt: mtime.toISOString() };
}

/** The command goes on meanwhile: what was there a moment ago may be gone. */
function tryTo<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
