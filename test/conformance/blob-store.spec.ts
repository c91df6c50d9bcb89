import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { attemptKey, inputKey, jobPrefix } from '#gateway/files/blob-keys.js';
import {
  BlobNotFoundError,
  BlobContentError,
  StorageFullError,
  type BlobStore,
} from '#gateway/files/blob-store.js';
import { createBlobStore } from '#gateway/files/create-blob-store.js';
import { DirectoryBlobStore } from '#gateway/files/directory-blob-store.js';
import { startS3, type S3Server } from '../support/s3.js';

const KEY = inputKey('a', 0);
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
const chunks = (...parts: (string | Buffer)[]) => Readable.from(parts.map((part) => Buffer.from(part)));

async function keys(store: BlobStore, prefix: string): Promise<string[]> {
  const found = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found.sort();
}

/** Brings `before`, then fails with `fault`. */
function failing(before: Buffer, fault: Error): Readable {
  return Readable.from(
    (function* () {
      yield before;
      throw fault;
    })(),
  );
}

interface Subject {
  store: BlobStore;
  end(): Promise<void>;
}

async function directorySubject(): Promise<Subject> {
  const directory = await mkdtemp(join(tmpdir(), 'labhand-blobs-'));
  const store = await createBlobStore({ kind: 'directory', directory });
  return { store, end: () => rm(directory, { recursive: true, force: true }) };
}

async function s3Subject(): Promise<Subject> {
  const server: S3Server = await startS3();
  const store = await createBlobStore({ kind: 's3', ...server.config, prefix: 'labhand' });
  return { store, end: () => server.stop() };
}

describe.each([
  ['a directory', directorySubject],
  ['S3', s3Subject],
])('%s as blob store', (_name, open) => {
  let subject: Subject;
  let store: BlobStore;

  beforeAll(async () => {
    subject = await open();
    store = subject.store;
  });
  afterEach(() => store.removeAll('jobs/'));
  afterAll(() => subject.end());

  it('gives back what was written, with its size and hash', async () => {
    const digest = await store.write(KEY, chunks('AT', 'OM'));
    expect(digest).toEqual({ size: 4, sha256: sha256(Buffer.from('ATOM')) });
    expect(await store.stat(KEY)).toEqual({ size: 4 });
    expect(await buffer(await store.read(KEY))).toEqual(Buffer.from('ATOM'));
  });

  it('keeps an empty blob', async () => {
    expect(await store.write(KEY, Readable.from([]))).toEqual({ size: 0, sha256: sha256(Buffer.alloc(0)) });
    expect(await store.stat(KEY)).toEqual({ size: 0 });
    expect(await buffer(await store.read(KEY))).toHaveLength(0);
  });

  it('keeps a blob of many parts in order', async () => {
    const part = randomBytes(2 ** 20 + 7);
    const parts = Array.from({ length: 37 }, () => part);
    const digest = await store.write(KEY, Readable.from(parts), { size: 37 * part.length });
    expect(digest).toEqual({ size: 37 * part.length, sha256: sha256(Buffer.concat(parts)) });
    expect(sha256(await buffer(await store.read(KEY)))).toBe(digest.sha256);
  });

  it('reads a range, its end included', async () => {
    await store.write(KEY, chunks('0123456789'));
    expect((await buffer(await store.read(KEY, { start: 2, end: 4 }))).toString()).toBe('234');
    expect((await buffer(await store.read(KEY, { start: 7 }))).toString()).toBe('789');
    expect((await buffer(await store.read(KEY, { end: 2 }))).toString()).toBe('012');
  });

  it('replaces a blob that is written again', async () => {
    await store.write(KEY, chunks('first, and longer'));
    await store.write(KEY, chunks('second'));
    expect((await buffer(await store.read(KEY))).toString()).toBe('second');
  });

  it('says when a blob is not there', async () => {
    await expect(store.read(KEY)).rejects.toThrow(BlobNotFoundError);
    expect(await store.stat(KEY)).toBeUndefined();
    await expect(store.remove(KEY)).resolves.toBeUndefined();
    await store.write(KEY, chunks('x'));
    await expect(store.read('jobs/a/inputs')).rejects.toThrow(BlobNotFoundError);
    expect(await store.stat('jobs/a/inputs')).toBeUndefined();
  });

  it.each([
    ['at once', 3],
    ['after several parts', 40 * 2 ** 20],
  ])('shows nothing of a write whose source fails %s', async (_when, bytes) => {
    const fault = new Error('the client went away');
    await expect(store.write(KEY, failing(Buffer.alloc(bytes), fault))).rejects.toBe(fault);
    expect(await store.stat(KEY)).toBeUndefined();
    expect(await keys(store, 'jobs/')).toEqual([]);
  });

  it('keeps the former blob when writing it again fails', async () => {
    await store.write(KEY, chunks('former'));
    await expect(store.write(KEY, failing(Buffer.from('new'), new Error('gone')))).rejects.toThrow('gone');
    expect((await buffer(await store.read(KEY))).toString()).toBe('former');
  });

  it('shows nothing of a write that is aborted', async () => {
    const abort = new AbortController();
    const source = new Readable({ read() {} });
    const written = store.write(KEY, source, { signal: abort.signal });
    source.push(Buffer.from('half'));
    abort.abort(new Error('stop'));
    await expect(written).rejects.toThrow('stop');
    expect(source.destroyed).toBe(true);
    expect(await store.stat(KEY)).toBeUndefined();
  });

  it.each([3, 5])('refuses four bytes where %d were announced', async (size) => {
    await expect(store.write(KEY, chunks('ATOM'), { size })).rejects.toThrow(BlobContentError);
    expect(await store.stat(KEY)).toBeUndefined();
  });

  it('removes one blob, or all below a prefix and no others', async () => {
    await store.write(KEY, chunks('a'));
    await store.write(inputKey('a', 1), chunks('b'));
    await store.write(attemptKey('a', 1, 'outputs.zip'), chunks('c'));
    await store.write(inputKey('ab', 0), chunks('d'));
    await store.remove(KEY);
    expect(await keys(store, 'jobs/')).toEqual([
      'jobs/a/1/outputs.zip',
      'jobs/a/inputs/1',
      'jobs/ab/inputs/0',
    ]);
    await store.removeAll(jobPrefix('a'));
    expect(await keys(store, 'jobs/')).toEqual(['jobs/ab/inputs/0']);
  });

  it('lists what is below a prefix with the time of writing', async () => {
    const before = Date.now() - 2000;
    await store.write(KEY, chunks('a'));
    await store.write(inputKey('b', 0), chunks('b'));
    expect(await keys(store, jobPrefix('a'))).toEqual([KEY]);
    expect(await keys(store, 'jobs/none/')).toEqual([]);
    for await (const { modifiedAt } of store.list('jobs/')) {
      expect(modifiedAt.getTime()).toBeGreaterThan(before);
      expect(modifiedAt.getTime()).toBeLessThan(Date.now() + 2000);
    }
  });

  it('refuses keys that lead out of it', async () => {
    await expect(store.write('jobs/../../x', chunks('a'))).rejects.toThrow("has a '..' part");
    await expect(store.read('/etc/passwd')).rejects.toThrow('is absolute');
    await expect(store.removeAll('jobs')).rejects.toThrow('has to end with a slash');
  });

  it('can be written to', async () => {
    await expect(store.check()).resolves.toBeUndefined();
  });
});

describe('a directory as blob store', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'labhand-blobs-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** Writes through a link to /dev/full: the kernel's own ENOSPC, for root and for everybody else. */
  class FullDirectoryBlobStore extends DirectoryBlobStore {
    protected override temporaryPath(): string {
      return join(directory, '.unfinished', 'full');
    }
  }

  it.each(['write', 'check'] as const)(
    'says on %s that the disk is full, and leaves nothing',
    async (verb) => {
      const store = new FullDirectoryBlobStore(directory);
      await store.removeUnfinished(new Date());
      await new DirectoryBlobStore(directory).check();
      await symlink('/dev/full', join(directory, '.unfinished', 'full'));
      const done = verb === 'write' ? store.write(KEY, Readable.from([Buffer.alloc(5e6)])) : store.check();
      await expect(done).rejects.toThrow(StorageFullError);
      expect(await readdir(directory, { recursive: true })).toEqual(['.unfinished']);
    },
  );

  it('rejects the check when its directory cannot be made', async () => {
    await writeFile(join(directory, 'file'), '');
    await expect(new DirectoryBlobStore(join(directory, 'file', 'blobs')).check()).rejects.toThrow('ENOTDIR');
  });

  it('removes what a killed process left unfinished, once it is old', async () => {
    const store = new DirectoryBlobStore(directory);
    await store.check();
    const [old, young] = ['old', 'young'].map((name) => join(directory, '.unfinished', name)) as [
      string,
      string,
    ];
    await writeFile(old, 'half');
    await writeFile(young, 'half');
    await utimes(old, new Date(1e12), new Date(1e12));
    await store.removeUnfinished(new Date(1.1e12));
    expect(await readdir(join(directory, '.unfinished'))).toEqual(['young']);
  });
});

describe('S3 as blob store', () => {
  it.each([
    [507, 'InsufficientStorage'],
    [500, 'XMinioStorageFull'],
  ])('says that the storage is full when the server answers %d %s', async (status, code) => {
    const server = createServer((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(status, { 'content-type': 'application/xml' });
        response.end(`<Error><Code>${code}</Code><Message>full</Message></Error>`);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const store = await createBlobStore({
      kind: 's3',
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      region: 'us-east-1',
      bucket: 'blobs',
      accessKeyId: 'key',
      secretAccessKey: 'secret',
      forcePathStyle: true,
    });
    await expect(store.write(KEY, chunks('x'))).rejects.toThrow(StorageFullError);
    await expect(store.check()).rejects.toThrow(StorageFullError);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
