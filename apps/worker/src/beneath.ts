import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, realpathSync } from 'node:fs';
import type { Dirent, Stats } from 'node:fs';
import { join } from 'node:path';

/** Darwin: no part of the path may be a link. Elsewhere names are opened one by one, below folders that are held. */
const NO_LINKS = process.platform === 'darwin' ? 0x2000_0000 : constants.O_NOFOLLOW;

/**
 * A folder that stays the same one however its command moves and links things meanwhile: what is opened below it
 * lies below it.
 */
export class HeldFolder {
  private constructor(
    private readonly fd: number,
    private readonly path: string,
  ) {}

  /** @throws when there is no such folder */
  static open(path: string): HeldFolder {
    return HeldFolder.at(realpathSync(path));
  }

  private static at(path: string): HeldFolder {
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | NO_LINKS);
    return new HeldFolder(fd, process.platform === 'darwin' ? path : `/proc/self/fd/${fd}`);
  }

  /** @throws when it is gone, or no folder any more */
  folder(name: string): HeldFolder {
    return HeldFolder.at(join(this.path, name));
  }

  /** The file descriptor of a regular file; the caller closes it. @throws when it is none */
  file(name: string): { fd: number; stats: Stats } {
    // A pipe in its place must not block the worker.
    const fd = openSync(join(this.path, name), constants.O_RDONLY | constants.O_NONBLOCK | NO_LINKS);
    const stats = fstatSync(fd);
    if (stats.isFile()) return { fd, stats };
    closeSync(fd);
    throw new Error(`${name} is no file`);
  }

  entries(): Dirent[] {
    return readdirSync(this.path, { withFileTypes: true });
  }

  stats(name: string): Stats {
    return lstatSync(join(this.path, name));
  }

  close(): void {
    closeSync(this.fd);
  }
}

/**
 * Opens a file by its path below a folder, following no link on the way.
 * @returns undefined when there is no regular file
 */
export function openBeneath(directory: string, path: string): { fd: number; stats: Stats } | undefined {
  const names = path.split('/');
  const last = names.pop()!;
  try {
    let folder = HeldFolder.open(directory);
    try {
      for (const name of names) {
        const above: HeldFolder = folder;
        folder = above.folder(name);
        above.close();
      }
      return folder.file(last);
    } finally {
      folder.close();
    }
  } catch {
    return undefined;
  }
}
