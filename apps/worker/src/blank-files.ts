import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';

/** More than this many slots rarely end with nothing written at the same moment. */
const MOST_KEPT = 256;

/**
 * Empty files that are used again. Where hundreds are made and removed every second, ext4 passes over every inode
 * that it freed in the last seconds to find one for a new file; a rename needs none.
 */
export class BlankFiles {
  private readonly kept: string[] = [];
  private made = 0;

  /** @param folder on the file system of the files; what an earlier run left there is removed */
  constructor(private readonly folder: string) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Makes an empty file. @throws {Error} there is one of that name */
  place(path: string): void {
    const blank = this.kept.pop();
    if (blank === undefined) return closeSync(openSync(path, 'wx', 0o600));
    if (existsSync(path)) throw new Error(`there is a file ${path} already`);
    renameSync(blank, path);
  }

  /** Removes a file, if it is there, that nobody has open; it is kept for `place` when it is empty still. */
  remove(path: string): void {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (!stats) return;
    if (!stats.isFile() || stats.size > 0 || this.kept.length >= MOST_KEPT) return unlinkSync(path);
    const blank = join(this.folder, String(++this.made));
    renameSync(path, blank);
    this.kept.push(blank);
  }
}
