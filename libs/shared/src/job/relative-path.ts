/**
 * The one rule for paths of input files, archive entries and output files: relative, POSIX, inside the
 * workspace whatever it is joined with.
 */

const MAX_PATH_BYTES = 1024;
const MAX_NAME_BYTES = 255;

/** Why `path` may not be used, as the end of a sentence "… <reason>"; undefined when it may. */
export function relativePathFault(path: string): string | undefined {
  if (path === '') return 'is empty';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'has a control character';
  if (path.startsWith('/') || /^[A-Za-z]:[\\/]/.test(path)) return 'is absolute';
  if (path.includes('\\')) return 'has a backslash';
  const names = path.split('/');
  if (names.includes('..')) return "has a '..' part";
  if (names.includes('.') || names.includes('')) return "has an empty or '.' part";
  if (names.some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES)) {
    return `has a part longer than ${MAX_NAME_BYTES} bytes`;
  }
  return undefined;
}

/**
 * The first two of `paths` that cannot both exist: the same path, or one a folder of the other;
 * undefined when all fit together.
 */
export function pathClash(paths: Iterable<string>): [string, string] | undefined {
  const files = new Set<string>();
  for (const path of paths) {
    if (files.has(path)) return [path, path];
    files.add(path);
  }
  for (const path of files) {
    for (let slash = path.indexOf('/'); slash > 0; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash);
      if (files.has(folder)) return [folder, path];
    }
  }
  return undefined;
}
