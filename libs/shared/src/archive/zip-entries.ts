import { crc32 } from 'node:zlib';
import type yauzl from 'yauzl';
import type { ArchiveSource, EntryOnTheWay } from './archive-entry.js';
import { ArchiveError, archiveFault } from './archive-error.js';
import { quote, refuseKind, type EntryRules } from './entry-rules.js';
import { openZip, zipEntryName, zipIndex } from './zip-file.js';

const FILE_TYPE = 0o170000;
const KINDS: Readonly<Record<number, string>> = {
  0o120000: 'a symbolic link',
  0o060000: 'a block device',
  0o020000: 'a character device',
  0o010000: 'a named pipe',
  0o140000: 'a socket',
};
const REGULAR = 0o100000;
const FOLDER = 0o040000;
const METHODS = [0, 8];

/** The entries of a zip in the order of its index. @throws {ArchiveError} */
export async function* zipEntries(source: ArchiveSource, rules: EntryRules): AsyncIterable<EntryOnTheWay> {
  const zip = await openZip(source);
  try {
    for await (const entry of zipIndex(zip)) {
      const checked = check(entry, zip, rules);
      if (checked) yield checked;
    }
  } finally {
    zip.close();
  }
}

function check(entry: yauzl.Entry, zip: yauzl.ZipFile, rules: EntryRules): EntryOnTheWay | undefined {
  const name = zipEntryName(entry);
  const mode = entry.externalFileAttributes >>> 16;
  const kind = kindOf(name, mode);
  const path = rules.admit(name, kind);
  if (entry.isEncrypted()) {
    throw new ArchiveError(`The entry ${quote(name)} is encrypted; pack the files without a password.`);
  }
  if (!METHODS.includes(entry.compressionMethod)) {
    throw new ArchiveError(
      `The entry ${quote(name)} is packed by method ${entry.compressionMethod}; pack with the usual one (deflate).`,
    );
  }
  if (path === undefined) return undefined;
  const size = kind === 'file' ? entry.uncompressedSize : 0;
  rules.addBytes(size);
  return {
    path,
    kind,
    size,
    executable: (mode & 0o111) !== 0,
    open: async () => data(zip, entry, name),
  };
}

/** Archives from DOS and Windows have no file type; there only the name tells a folder. */
function kindOf(name: string, mode: number): 'file' | 'folder' {
  const type = mode & FILE_TYPE;
  if (type !== 0 && type !== REGULAR && type !== FOLDER)
    refuseKind(name, KINDS[type] ?? 'of an unknown kind');
  return type === FOLDER || name.endsWith('/') ? 'folder' : 'file';
}

async function* data(zip: yauzl.ZipFile, entry: yauzl.Entry, name: string): AsyncIterable<Buffer> {
  let sum = 0;
  try {
    const stream = await zip.openReadStreamPromise(entry);
    for await (const chunk of stream) {
      sum = crc32(chunk as Buffer, sum);
      yield chunk as Buffer;
    }
  } catch (error) {
    throw archiveFault(error, 'zip');
  }
  if (sum !== entry.crc32) {
    throw new ArchiveError(
      `The entry ${quote(name)} is damaged: its checksum is wrong; pack and send it again.`,
    );
  }
}
