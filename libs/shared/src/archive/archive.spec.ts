import { createReadStream } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';
import yazl from 'yazl';
import { archiveFormat, type ArchiveFormat } from './archive.js';
import { ArchiveError } from './archive-error.js';
import type { ArchiveLimits } from './entry-rules.js';
import { inspectArchive } from './inspect.js';
import { unpackArchive } from './unpack.js';

type Entry = Partial<Header> & { name: string; data?: string | Buffer };

function tar(...entries: Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { data, ...header } of entries) archive.entry(header, data ?? '');
  archive.finalize();
  return buffer(archive);
}

/** Names go in as they are: yazl itself refuses bad ones, so they are put in afterwards. */
async function zip(...entries: Entry[]): Promise<Buffer> {
  const archive = new yazl.ZipFile();
  for (const { data, mode } of entries) {
    const type = mode !== undefined && mode > 0o7777 ? mode : 0o100000 | (mode ?? 0o644);
    archive.addBuffer(Buffer.from(data ?? ''), 'x', { mode: type, mtime: new Date(1e12) });
  }
  archive.end();
  let packed: Buffer = await buffer(archive.outputStream);
  for (const { name } of entries) packed = rename(packed, Buffer.from(name));
  return packed;
}

const LOCAL = Buffer.from('PK\x03\x04');
const CENTRAL = Buffer.from('PK\x01\x02');
const END = Buffer.from('PK\x05\x06');

/** Gives the first entry that is still called `x` another name, in its own header and in the index. */
function rename(packed: Buffer, name: Buffer): Buffer {
  const parts = split(packed);
  const index = parts.central.findIndex((entry) => entry.toString('latin1', 46, 47) === 'x');
  const swap = (header: Buffer, lengthAt: number, nameAt: number) => {
    const renamed = Buffer.concat([header.subarray(0, nameAt), name, header.subarray(nameAt + 1)]);
    renamed.writeUInt16LE(name.length, lengthAt);
    return renamed;
  };
  parts.local[index] = swap(parts.local[index]!, 26, 30);
  parts.central[index] = swap(parts.central[index]!, 28, 46);
  return assemble(parts);
}

interface ZipParts {
  local: Buffer[];
  central: Buffer[];
  end: Buffer;
}

function split(packed: Buffer): ZipParts {
  const end = packed.lastIndexOf(END);
  const indexStart = packed.readUInt32LE(end + 16);
  const central: Buffer[] = [];
  const starts: number[] = [];
  for (let at = indexStart; packed.subarray(at, at + 4).equals(CENTRAL);) {
    const length =
      46 + packed.readUInt16LE(at + 28) + packed.readUInt16LE(at + 30) + packed.readUInt16LE(at + 32);
    central.push(Buffer.from(packed.subarray(at, at + length)));
    starts.push(packed.readUInt32LE(at + 42));
    at += length;
  }
  const local = starts.map((start, i) => Buffer.from(packed.subarray(start, starts[i + 1] ?? indexStart)));
  expect(local.every((part) => part.subarray(0, 4).equals(LOCAL))).toBe(true);
  return { local, central, end: Buffer.from(packed.subarray(end)) };
}

function assemble({ local, central, end }: ZipParts): Buffer {
  let offset = 0;
  const starts = local.map((part) => (offset += part.length) - part.length);
  central.forEach((entry, i) => entry.writeUInt32LE(starts[Math.min(i, starts.length - 1)]!, 42));
  end.writeUInt16LE(central.length, 8);
  end.writeUInt16LE(central.length, 10);
  end.writeUInt32LE(Buffer.concat(central).length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...local, ...central, end]);
}

/** A zstd frame: its window (2^10 to 2^41) and its blocks, each 128 KiB of zeros in four bytes. */
function zeroFrame(windowLog: number, blocks: number): Buffer {
  const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (windowLog - 10) << 3]);
  const body = Array.from({ length: blocks }, (_, i) => Buffer.from([i === blocks - 1 ? 3 : 2, 0, 0x10, 0]));
  return Buffer.concat([frame, ...body]);
}

/** `tar -cf - ./data ./run.sh | zstd -19`, with `./data/a.pdb`. */
const TAR_ZST = Buffer.from(
  'KLUv/QRovQMA0kQQEZB9xAE2roKSIv0gkMXV1EoBNBdbZRGD/Xl0aCZ240IcnOAebCb4L/avFJPzkugh4Kjz9hU8rWfG13rjJeo4CwkS' +
    'IBBtltsB+s09uDdA6hkboErssB5wKa9H5WBV013hSJ86QBbopzjIKR9KeMBBASynEAeunBW0',
  'base64',
);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'labhand-archive-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const inMemory = (packed: Buffer) => ({
  size: packed.length,
  read: (start: number, end: number) => Readable.from([packed.subarray(start, end + 1)]),
});
const inspect = (packed: Buffer, format: ArchiveFormat, limits?: Partial<ArchiveLimits>) =>
  inspectArchive(inMemory(packed), format, limits);

async function unpack(packed: Buffer, format: ArchiveFormat, limits?: Partial<ArchiveLimits>) {
  const file = join(directory, 'packed');
  const target = join(directory, 'workspace');
  await writeFile(file, packed);
  await mkdir(target, { recursive: true });
  return unpackArchive(file, format, target, limits);
}

const workspace = (path: string) => join(directory, 'workspace', path);

describe('archiveFormat', () => {
  it('knows an archive by its ending, in any case', () => {
    const names = [
      'a.zip',
      'A.ZIP',
      'a.tar',
      'a.tgz',
      'a.tar.gz',
      'x/a.tar.zst',
      'a.tzst',
      'a.gz',
      'a.rar',
      'zip',
    ];
    expect(names.map(archiveFormat)).toEqual([
      ...['zip', 'zip', 'tar', 'tar.gz', 'tar.gz', 'tar.zst', 'tar.zst'],
      ...[undefined, undefined, undefined],
    ]);
  });
});

const folder = (format: ArchiveFormat, name: string): Entry =>
  format === 'zip'
    ? { name: `${name}/`, mode: 0o40755 }
    : { name: `${name}/`, type: 'directory', mode: 0o755 };

const builders: [ArchiveFormat, (...entries: Entry[]) => Promise<Buffer>][] = [
  ['zip', zip],
  ['tar', tar],
  ['tar.gz', async (...entries) => gzipSync(await tar(...entries))],
];

describe.each(builders)('%s', (format, build) => {
  const both = async (packed: Buffer, limits?: Partial<ArchiveLimits>) => {
    await rm(workspace('.'), { recursive: true, force: true });
    const [inspected, unpacked] = await Promise.allSettled([
      inspect(packed, format, limits),
      unpack(packed, format, limits),
    ]);
    return [inspected, unpacked].map((result) =>
      result.status === 'fulfilled' ? result.value : (result.reason as Error),
    );
  };
  const refused = async (packed: Buffer, words: RegExp, limits?: Partial<ArchiveLimits>) => {
    for (const result of await both(packed, limits)) {
      expect(result).toBeInstanceOf(ArchiveError);
      expect((result as Error).message).toMatch(words);
      expect((result as Error).message).toMatch(/^[A-Z].*\.$/);
    }
  };

  it('is listed and unpacked alike, with a leading ./ taken off', async () => {
    const long = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
    const packed = await build(
      folder(format, '.'),
      folder(format, './data'),
      { name: './data/a.pdb', data: 'ATOM' },
      { name: 'data/deep/er/b.bin', data: long },
      { name: 'empty' },
    );
    const expected = [
      { path: 'data/a.pdb', size: 4 },
      { path: 'data/deep/er/b.bin', size: 300_000 },
      { path: 'empty', size: 0 },
    ];
    expect(await both(packed)).toEqual([expected, expected]);
    expect(await readFile(workspace('data/a.pdb'), 'utf8')).toBe('ATOM');
    expect(long.equals(await readFile(workspace('data/deep/er/b.bin')))).toBe(true);
    expect((await stat(workspace('empty'))).size).toBe(0);
  });

  it('keeps the executable bit and no other', async () => {
    await unpack(await build({ name: 'run.sh', mode: 0o4755 }, { name: 'plain', mode: 0o2606 }), format);
    expect((await stat(workspace('run.sh'))).mode & 0o7777).toBe(0o755 & ~process.umask());
    expect((await stat(workspace('plain'))).mode & 0o7777).toBe(0o644 & ~process.umask());
  });

  it.each(['../x', 'a/../../x', '/etc/x', 'a\\b', 'C:/x', 'a//b', 'bell\x07', `${'n'.repeat(256)}`])(
    'refuses the path %j',
    async (name) => {
      await refused(await build({ name, data: 'x' }), /^The entry .*; pack the files with relative paths/);
      expect(await readdir(directory)).toEqual(expect.arrayContaining(['workspace', 'packed']));
      expect(await readdir(workspace('.'), { recursive: true })).toEqual([]);
    },
  );

  it('refuses two files of one path, and a file that is a folder too', async () => {
    await refused(await build({ name: 'a', data: '1' }, { name: './a', data: '2' }), /holds "a" twice/);
    await refused(
      await build({ name: 'a', data: '1' }, { name: 'a/b', data: '2' }),
      /"a" as a file and also as/,
    );
    await refused(
      await build({ name: 'a/b', data: '1' }, { name: 'a', data: '2' }),
      /"a" as a file and also as/,
    );
    await refused(await build(folder(format, 'a'), { name: 'a', data: '2' }), /"a" as a file and also as/);
  });

  it('refuses more entries or bytes than allowed', async () => {
    const packed = await build({ name: 'a/1', data: 'x' }, { name: 'a/2', data: 'yz' });
    await refused(packed, /more than 2 files and folders/, { entries: 2 });
    await refused(packed, /more than the 2 bytes allowed/, { bytes: 2 });
    expect(await inspect(packed, format, { entries: 3, bytes: 3 })).toHaveLength(2);
  });

  it('refuses an archive that is cut off anywhere', async () => {
    const noise = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i * 7919) % 256 || 1));
    const packed = await build({ name: 'a', data: noise }, { name: 'b', data: noise });
    const cuts = [0, 1, 511, 512, 1024, 3000, packed.length >> 1, packed.length - 1030, packed.length - 1025];
    for (const cut of cuts.filter((cut) => cut >= 0 && cut < packed.length)) {
      await refused(packed.subarray(0, cut), /cut off|damaged/);
    }
  });

  it('refuses what is no archive', async () => {
    await refused(Buffer.from('ATOM  '.repeat(1000)), /pack and send it again/);
  });

  it('does not write through a link, nor over a file, that is there already', async () => {
    await mkdir(join(directory, 'elsewhere'));
    await mkdir(workspace('.'));
    await symlink(join(directory, 'elsewhere'), workspace('out'));
    await symlink(join(directory, 'elsewhere', 'file'), workspace('link'));
    await writeFile(workspace('there'), 'before');
    await expect(unpack(await build({ name: 'out/x', data: 'x' }), format)).rejects.toThrow(ArchiveError);
    await expect(unpack(await build({ name: 'link', data: 'x' }), format)).rejects.toThrow(ArchiveError);
    await expect(unpack(await build({ name: 'there', data: 'x' }), format)).rejects.toThrow(/already is/);
    expect(await readdir(join(directory, 'elsewhere'))).toEqual([]);
    expect(await readFile(workspace('there'), 'utf8')).toBe('before');
  });

  it('stops unpacking when it is told to', async () => {
    const file = join(directory, 'packed');
    await writeFile(file, await build({ name: 'a', data: 'x' }));
    const done = unpackArchive(file, format, directory, {}, AbortSignal.abort(new Error('stop')));
    await expect(done).rejects.toThrow('stop');
  });

  it('passes on a fault of where the archive lies as it is', async () => {
    const fault = new Error('the disk is on fire');
    const packed = await build({ name: 'a', data: 'x' });
    const read = () =>
      new Readable({
        read() {
          this.destroy(fault);
        },
      });
    await expect(inspectArchive({ size: packed.length, read }, format)).rejects.toBe(fault);
  });
});

describe('tar', () => {
  it.each([
    ['symlink', 'a symbolic link'],
    ['link', 'a hard link'],
    ['character-device', 'a character device'],
    ['block-device', 'a block device'],
    ['fifo', 'a named pipe'],
  ] as const)('with a %s is refused', async (type, words) => {
    const packed = await tar({ name: 'bad', type, linkname: '/etc/passwd' });
    await expect(inspect(packed, 'tar')).rejects.toThrow(`The entry "bad" is ${words}; only regular files`);
    await expect(unpack(packed, 'tar')).rejects.toThrow(ArchiveError);
    await expect(lstat(workspace('bad'))).rejects.toThrow('ENOENT');
  });
});

describe('zip', () => {
  it.each([
    [0o120777, 'a symbolic link'],
    [0o010644, 'a named pipe'],
    [0o020644, 'a character device'],
  ])('with an entry of mode %o is refused', async (mode, words) => {
    const packed = await zip({ name: 'bad', mode, data: '/etc/passwd' });
    await expect(inspect(packed, 'zip')).rejects.toThrow(`The entry "bad" is ${words}; only regular files`);
    await expect(unpack(packed, 'zip')).rejects.toThrow(ArchiveError);
    await expect(lstat(workspace('bad'))).rejects.toThrow('ENOENT');
  });

  it('whose entries share their data to unpack to gigabytes is refused', async () => {
    const parts = split(await zip({ name: 'aaaa', data: Buffer.alloc(2 ** 20) }));
    const named = (i: number) => {
      const entry = Buffer.from(parts.central[0]!);
      entry.write(i.toString(36).padStart(4, '0'), 46);
      return entry;
    };
    const bomb = assemble({ ...parts, central: Array.from({ length: 2000 }, (_, i) => named(i)) });
    expect(bomb.length).toBeLessThan(200_000);
    await expect(inspect(bomb, 'zip')).rejects.toThrow('more than 1000 times its size');
    await expect(unpack(bomb, 'zip')).rejects.toThrow('more than 1000 times its size');
  });

  it.each([
    ['more', 1],
    ['less', 100_000],
  ])('which unpacks to %s than it announces is refused', async (_what, announced) => {
    const parts = split(await zip({ name: 'a', data: Buffer.alloc(5000, 'x') }));
    parts.central[0]!.writeUInt32LE(announced, 24);
    await expect(unpack(assemble(parts), 'zip')).rejects.toThrow(ArchiveError);
    await expect(stat(workspace('a'))).resolves.toHaveProperty('size', announced === 1 ? 0 : 5000);
  });

  it('with a wrong checksum is refused', async () => {
    const parts = split(await zip({ name: 'a', data: 'ATOM ATOM ATOM' }));
    parts.central[0]!.writeUInt32LE(12345, 16);
    await expect(unpack(assemble(parts), 'zip')).rejects.toThrow('its checksum is wrong');
  });

  it('which is encrypted is refused', async () => {
    const parts = split(await zip({ name: 'a', data: 'ATOM ATOM ATOM' }));
    parts.central[0]!.writeUInt16LE(parts.central[0]!.readUInt16LE(8) | 1, 8);
    await expect(inspect(assemble(parts), 'zip')).rejects.toThrow('pack the files without a password');
    await expect(unpack(assemble(parts), 'zip')).rejects.toThrow('pack the files without a password');
  });

  it('of 5,000 entries is inspected with few reads', async () => {
    const entries = Array.from({ length: 5000 }, (_, i) => ({ name: `f${i}`, data: 'x' }));
    const archive = new yazl.ZipFile();
    for (const { name, data } of entries) archive.addBuffer(Buffer.from(data), name);
    archive.end();
    const packed = await buffer(archive.outputStream);
    const source = inMemory(packed);
    let reads = 0;
    const counted = { ...source, read: (start: number, end: number) => (reads++, source.read(start, end)) };
    expect(await inspectArchive(counted, 'zip')).toHaveLength(5000);
    expect(reads).toBeLessThan(5);
  });
});

describe('tar.zst', () => {
  it('is listed and unpacked', async () => {
    const expected = [
      { path: 'data/a.pdb', size: 7 },
      { path: 'run.sh', size: 10 },
    ];
    expect(await inspect(TAR_ZST, 'tar.zst')).toEqual(expected);
    expect(await unpack(TAR_ZST, 'tar.zst')).toEqual(expected);
    expect(await readFile(workspace('data/a.pdb'), 'utf8')).toBe('ATOM 1\n');
    expect((await stat(workspace('run.sh'))).mode & 0o111).not.toBe(0);
  });

  it.each([0, 3, 17, 100, TAR_ZST.length - 5, TAR_ZST.length - 1])(
    'cut off after %d bytes is refused',
    async (cut) => {
      await expect(inspect(TAR_ZST.subarray(0, cut), 'tar.zst')).rejects.toThrow(ArchiveError);
      await expect(unpack(TAR_ZST.subarray(0, cut), 'tar.zst')).rejects.toThrow(ArchiveError);
    },
  );

  it('that is a bomb is refused', async () => {
    const bomb = zeroFrame(20, 100_000);
    await expect(inspect(bomb, 'tar.zst')).rejects.toThrow('more than 1000 times its size');
  });

  it('that asks for gigabytes of memory is refused', async () => {
    await expect(inspect(zeroFrame(30, 10), 'tar.zst')).rejects.toThrow('wants a window of 1073741824 bytes');
    const second = Buffer.concat([zeroFrame(20, 1), zeroFrame(30, 10)]);
    await expect(inspect(second, 'tar.zst')).rejects.toThrow('wants a window of 1073741824 bytes');
  });
});

it('a stored file can be inspected where it lies', async () => {
  const file = join(directory, 'a.tar');
  await writeFile(file, await tar({ name: 'a', data: 'x' }));
  const { size } = await stat(file);
  const read = (start: number, end: number) => createReadStream(file, { start, end });
  expect(await inspectArchive({ size, read }, 'tar')).toEqual([{ path: 'a', size: 1 }]);
});
