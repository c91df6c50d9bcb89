/**
 * Paths that have to exist side by side, checked one by one as they become known: nothing has been written yet
 * when two of them clash.
 */
export class PathSet {
  private readonly files = new Set<string>();
  private readonly folders = new Set<string>();

  /** Files and folders, those that are only implied by a path included. */
  get size(): number {
    return this.files.size + this.folders.size;
  }

  /** The two paths that cannot both exist: the same one, or one a file and a folder of the other. */
  addFile(path: string): [string, string] | undefined {
    if (this.files.has(path)) return [path, path];
    if (this.folders.has(path)) return [path, `${path}/`];
    const clash = this.addParents(path);
    if (!clash) this.files.add(path);
    return clash;
  }

  /** As `addFile`, but a folder may come twice. */
  addFolder(path: string): [string, string] | undefined {
    if (this.files.has(path)) return [path, `${path}/`];
    const clash = this.addParents(path);
    if (!clash) this.folders.add(path);
    return clash;
  }

  private addParents(path: string): [string, string] | undefined {
    for (let slash = path.indexOf('/'); slash > 0; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash);
      if (this.files.has(folder)) return [folder, path];
      this.folders.add(folder);
    }
    return undefined;
  }
}
