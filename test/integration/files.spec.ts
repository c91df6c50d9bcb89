import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, symlink } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';
import yazl from 'yazl';
import { attemptKey, inputKey } from '#gateway/files/blob-keys.js';
import {
  JOB_ID,
  MAX_FILES,
  MAX_UPLOAD,
  startFilesApp,
  WatchedBlobStore,
  type FilesApp,
} from '../support/files-app.js';

// JSON as it came: what it is, the assertions say.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Json = any;

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');

let app: FilesApp;
beforeAll(async () => {
  app = await startFilesApp();
});
beforeEach(() => {
  app.jobs.terms = () => ({ maxUpload: MAX_UPLOAD });
});
afterEach(() => app.store.removeAll('jobs/'));
afterAll(() => app.stop());

type Part = [name: string, content: string | Buffer, filename?: string];

function form(...parts: Part[]): FormData {
  const data = new FormData();
  for (const [name, content, filename] of parts) {
    if (filename === undefined) data.append(name, content);
    else data.append(name, new Blob([new Uint8Array(Buffer.from(content))]), filename);
  }
  return data;
}

async function submit(...parts: Part[]): Promise<{ status: number; body: Json }> {
  const response = await fetch(`${app.url}/v1/jobs`, { method: 'POST', body: form(...parts) });
  return { status: response.status, body: await response.json() };
}

const JOB: Part = ['job', '{"queue":"default"}'];

async function refused(parts: Part[], status: number, code: string, words: RegExp): Promise<Json> {
  const answer = await submit(...parts);
  expect(answer).toMatchObject({ status, body: { status, code, detail: expect.stringMatching(words) } });
  expect(await app.store.files()).toEqual([]);
  return answer.body;
}

function tar(...entries: (Partial<Header> & { name: string; data?: string })[]): Promise<Buffer> {
  const archive = pack();
  for (const { data, ...header } of entries) archive.entry(header, data ?? '');
  archive.finalize();
  return buffer(archive);
}

/** The same bytes whenever it is made. */
async function zip(...files: [string, string | Buffer, boolean?][]): Promise<Buffer> {
  const archive = new yazl.ZipFile();
  const mtime = new Date(2026, 0, 1);
  for (const [name, content, compress] of files) {
    archive.addBuffer(Buffer.from(content), name, { compress, mtime });
  }
  archive.end();
  return buffer(archive.outputStream);
}

/** `./data/a.pdb` and an executable `./run.sh`, by `tar | zstd -19`. */
const TAR_ZST = Buffer.from(
  'KLUv/QRovQMA0kQQEZB9xAE2roKSIv0gkMXV1EoBNBdbZRGD/Xl0aCZ240IcnOAebCb4L/avFJPzkugh4Kjz9hU8rWfG13rjJeo4CwkS' +
    'IBBtltsB+s09uDdA6hkboErssB5wKa9H5WBV013hSJ86QBbopzjIKR9KeMBBASynEAeunBW0',
  'base64',
);

describe('a submission as a form', () => {
  it('stores its files in order, with their paths and hashes', async () => {
    const { status, body } = await submit(JOB, ['file', 'ATOM', 'data/a.pdb'], ['file', '', 'empty']);
    expect(status).toBe(201);
    expect(body).toEqual({
      job: { queue: 'default' },
      files: [
        { path: 'data/a.pdb', size: 4, sha256: sha256('ATOM'), key: inputKey(JOB_ID, 0) },
        { path: 'empty', size: 0, sha256: sha256(''), key: inputKey(JOB_ID, 1) },
      ],
    });
    expect(await text(await app.store.read(inputKey(JOB_ID, 0)))).toBe('ATOM');
  });

  it('takes the job with a file name and type, as curl sends it', async () => {
    const data = form(['file', 'x', 'a']);
    const first = new FormData();
    first.append('job', new Blob(['{"queue":"q"}'], { type: 'application/json' }), 'job.json');
    for (const [name, value] of data) first.append(name, value);
    const response = await fetch(`${app.url}/v1/jobs`, { method: 'POST', body: first });
    expect(await response.json()).toMatchObject({ job: { queue: 'q' }, files: [{ path: 'a' }] });
  });

  it('takes a job without files, and file names beyond ASCII', async () => {
    expect((await submit(JOB)).body).toEqual({ job: { queue: 'default' }, files: [] });
    expect((await submit(JOB, ['file', 'x', 'Übung/α β.txt'])).body.files[0].path).toBe('Übung/α β.txt');
  });

  it('leaves JSON to be parsed as ever', async () => {
    const response = await fetch(`${app.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"queue":"default"}',
    });
    expect(await response.json()).toEqual({ body: { queue: 'default' } });
  });

  it.each([
    ['inputs.zip', 'zip', () => zip(['data/a.pdb', 'ATOM 1\n'], ['run.sh', '#!/bin/sh\n'])],
    [
      'inputs.tgz',
      'tar.gz',
      async () =>
        gzipSync(
          await tar({ name: './data/a.pdb', data: 'ATOM 1\n' }, { name: './run.sh', data: '#!/bin/sh\n' }),
        ),
    ],
    ['inputs.tar.zst', 'tar.zst', async () => TAR_ZST],
  ])('tells what the archive %s holds', async (name, archive, make) => {
    const { body } = await submit(JOB, ['file', 'x', 'plain'], ['archive', await make(), name]);
    expect(body.files[1]).toMatchObject({ path: name, archive, key: inputKey(JOB_ID, 1) });
    expect(body.files[1].entries).toEqual([
      { path: 'data/a.pdb', size: 7 },
      { path: 'run.sh', size: 10 },
    ]);
  });

  it.each(['../x', '/etc/passwd', 'a\\b', 'a//b'])('refuses the path %s', async (path) => {
    const body = await refused(
      [JOB, ['file', 'y', 'ok'], ['file', 'x', path]],
      422,
      'invalid_path',
      /relative path/,
    );
    expect(body.errors).toEqual([{ path: 'file[1]', message: body.detail }]);
  });

  it('refuses two files of one path, wherever they come from', async () => {
    const archive: Part = ['archive', await zip(['a/b', '1']), 'in.zip'];
    await refused([JOB, ['file', '1', 'a'], ['file', '2', 'a']], 422, 'invalid_path', /two input files/);
    await refused([JOB, ['file', '1', 'a'], ['file', '2', 'a/b']], 422, 'invalid_path', /also a folder/);
    await refused([JOB, ['file', '1', 'a/b'], archive], 422, 'invalid_path', /two input files/);
    await refused([JOB, archive, ['file', '1', 'a']], 422, 'invalid_path', /also a folder/);
    await refused([JOB, archive, archive], 422, 'invalid_path', /two input files/);
    app.jobs.terms = () => ({ maxUpload: 100, taken: ['inline'] });
    await refused(
      [JOB, ['file', '1', 'inline']],
      422,
      'invalid_path',
      /two input files have the path "inline"/,
    );
  });

  it('refuses parts that it does not know, naming the nearest', async () => {
    await refused([JOB, ['files', 'x', 'a']], 422, 'invalid_request', /"files".*did you mean "file"\?/);
    await refused([JOB, ['constructor', 'x', 'a']], 400, 'invalid_multipart', /"job", "file" and "archive"/);
    await refused([JOB, ['zzzzzz', 'x', 'a']], 422, 'invalid_request', /called "file" or "archive"/);
    await refused([JOB, JOB], 422, 'invalid_request', /two parts "job"/);
  });

  it('wants the job, first and as JSON', async () => {
    await refused([['file', 'x', 'a'], JOB], 422, 'invalid_request', /first part of the form is "file"/);
    await refused([['job', '{"queue":']], 400, 'invalid_json', /^The part "job" is not valid JSON/);
    await refused([['job', `"${'x'.repeat(2 ** 22)}"`]], 413, 'payload_too_large', /"job" is longer/);
    const empty = await fetch(`${app.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      body: '--x--\r\n',
    });
    expect(await empty.json()).toMatchObject({ status: 422, errors: [{ path: 'job' }] });
  });

  it('wants a file name, and of an archive one that tells the format', async () => {
    await refused([JOB, ['file', 'x']], 422, 'invalid_path', /file\[0\] has no file name/);
    await refused([JOB, ['archive', 'x', 'in.rar']], 422, 'invalid_archive', /\.zip, \.tar, /);
  });

  it('refuses a file over the limit, while the client is still sending', async () => {
    app.jobs.terms = () => ({ maxUpload: 1000 });
    await refused(
      [JOB, ['file', 'x'.repeat(1001), 'a']],
      413,
      'payload_too_large',
      /larger than the 1000 bytes/,
    );
    expect((await submit(JOB, ['file', 'x'.repeat(1000), 'a'])).status).toBe(201);
    await app.store.removeAll('jobs/');
    await refused([JOB, ['file', Buffer.alloc(30 * 2 ** 20), 'a']], 413, 'payload_too_large', /split it/);
  });

  it('refuses more files than allowed', async () => {
    const files = (count: number) => Array.from({ length: count }, (_, i): Part => ['file', 'x', `f${i}`]);
    expect((await submit(JOB, ...files(MAX_FILES))).status).toBe(201);
    await app.store.removeAll('jobs/');
    await refused(
      [JOB, ...files(MAX_FILES + 1)],
      413,
      'payload_too_large',
      /more than 20 files.*one archive/,
    );
  });

  it('refuses archives with links, and those that are broken', async () => {
    const linked = await tar({ name: 'out', type: 'symlink', linkname: '/etc' });
    await refused(
      [JOB, ['archive', linked, 'in.tar']],
      422,
      'invalid_archive',
      /"in.tar".*"out" is a symbolic link/,
    );
    await refused([JOB, ['archive', 'no zip', 'in.zip']], 422, 'invalid_archive', /"in.zip".*cannot be read/);
    const bomb = Buffer.concat([
      Buffer.from('28b52ffd0050', 'hex'),
      ...Array.from({ length: 3000 }, () => Buffer.from('02001000', 'hex')),
    ]);
    await refused(
      [JOB, ['archive', bomb, 'in.tar.zst']],
      422,
      'invalid_archive',
      /more than 1000 times its size/,
    );
  });

  it('answers with what the job check throws before any file is taken', async () => {
    const writes = app.store.writes.length;
    app.jobs.terms = () => {
      throw new Error('unforeseen');
    };
    await refused([JOB, ['file', 'x', 'a']], 500, 'internal_error', /request id/);
    expect(app.store.writes).toHaveLength(writes);
  });

  it('keeps the connection for the next request after an early refusal', async () => {
    const socket = await open();
    socket.write(head('POST /v1/jobs', 5e6, 'multipart/form-data; boundary=B'));
    const start = '--B\r\ncontent-disposition: form-data; name="wrong"\r\n\r\ndata';
    socket.write(start);
    const first = await answer(socket);
    expect(first).toMatch(/^HTTP\/1.1 422 /);
    socket.write(Buffer.alloc(5e6 - start.length));
    socket.write(head('GET /v1/nowhere', 0, 'text/plain'));
    expect(await answer(socket)).toMatch(/^HTTP\/1.1 404 /);
    socket.destroy();
  });

  it('refuses a body without its end', async () => {
    const whole = '--B\r\ncontent-disposition: form-data; name="job"\r\n\r\n{}\r\n';
    const half = `${whole}--B\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf`;
    for (const body of [whole, half]) {
      const response = await fetch(`${app.url}/v1/jobs`, {
        method: 'POST',
        headers: { 'content-type': 'multipart/form-data; boundary=B' },
        body,
      });
      expect(await response.json()).toMatchObject({ status: 400, code: 'body_incomplete' });
    }
    expect(await app.store.files()).toEqual([]);
  });

  it('leaves nothing of a client that goes away in the middle of a file', async () => {
    const socket = await open();
    const begun = app.store.nextWrite();
    socket.write(head('POST /v1/jobs', 1e9, 'multipart/form-data; boundary=B'));
    socket.write('--B\r\ncontent-disposition: form-data; name="job"\r\n\r\n{}\r\n');
    socket.write('--B\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n');
    socket.write(Buffer.alloc(3e6));
    await begun;
    socket.destroy();
    await app.store.writes.at(-1);
    await app.jobs.settled;
    expect(await app.store.files()).toEqual([]);
  });

  it('holds little of a large file in memory', async () => {
    const [bytes, chunk] = [256 * 2 ** 20, Buffer.alloc(2 ** 16)];
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const body = function* () {
      yield Buffer.from('--B\r\ncontent-disposition: form-data; name="job"\r\n\r\n{}\r\n');
      yield Buffer.from('--B\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n');
      for (let sent = 0; sent < bytes; sent += chunk.length) {
        most = Math.max(most, process.memoryUsage().arrayBuffers - before);
        yield chunk;
      }
      yield Buffer.from('\r\n--B--\r\n');
    };
    const sending = request(`${app.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=B' },
    });
    Readable.from(body()).pipe(sending);
    const [response] = (await once(sending, 'response')) as [Readable];
    expect(JSON.parse(await text(response))).toMatchObject({ files: [{ size: bytes }] });
    expect(most).toBeLessThan(bytes / 2);
  });
});

/** Writes through a link to /dev/full: the kernel's own ENOSPC. */
class FullBlobStore extends WatchedBlobStore {
  async fill(): Promise<void> {
    await mkdir(join(this.directory, '.unfinished'), { recursive: true });
    await symlink('/dev/full', this.temporaryPath());
  }

  protected override temporaryPath(): string {
    return join(this.directory, '.unfinished', 'full');
  }
}

describe('a full disk', () => {
  let full: FilesApp<FullBlobStore>;
  beforeEach(async () => {
    full = await startFilesApp((directory) => new FullBlobStore(directory));
    await full.store.fill();
  });
  afterEach(() => full.stop());

  it('is told to who submits, and nothing is left', async () => {
    const body = form(JOB, ['file', Buffer.alloc(20e6), 'a']);
    const response = await fetch(`${full.url}/v1/jobs`, { method: 'POST', body });
    expect(await response.json()).toMatchObject({ status: 507, code: 'storage_full' });
    expect(await full.store.files()).toEqual([]);
  });

  it('is told to the worker', async () => {
    const response = await fetch(`${full.url}/v1/attempts/${JOB_ID}/1/outputs.zip`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${await full.tokens.issue(JOB_ID, 1)}` },
      body: new Uint8Array(20e6),
    });
    expect(await response.json()).toMatchObject({ status: 507, code: 'storage_full' });
    expect(await full.store.files()).toEqual([]);
  });
});

describe('a connection', () => {
  it('stays for the next request when a worker was refused in the middle of a file', async () => {
    const full = await startFilesApp((directory) => new FullBlobStore(directory));
    await full.store.fill();
    const socket = await open(full.port);
    const token = await full.tokens.issue(JOB_ID, 1);
    const path = `/v1/attempts/${JOB_ID}/1/stdout`;
    socket.write(head(`PUT ${path}`, 10e6, 'text/plain', `authorization: Bearer ${token}\r\n`));
    socket.write(Buffer.alloc(5e6));
    expect(await answer(socket)).toMatch(/^HTTP\/1.1 507 /);
    socket.write(Buffer.alloc(5e6));
    socket.write(head('GET /v1/nowhere', 0, 'text/plain'));
    expect(await answer(socket)).toMatch(/^HTTP\/1.1 404 /);
    socket.destroy();
    await full.stop();
  });
});

describe('the files of an attempt', () => {
  const put = async (file: string, body: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${app.url}/v1/attempts/${JOB_ID}/2/${file}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${await app.tokens.issue(JOB_ID, 2)}`, ...headers },
      body,
    });
    const answered = await response.text();
    return { status: response.status, body: answered === '' ? undefined : JSON.parse(answered) };
  };
  const get = async (index: string, token: string) => {
    const response = await fetch(`${app.url}/v1/attempts/${JOB_ID}/2/inputs/${index}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return {
      status: response.status,
      type: response.headers.get('content-length'),
      body: await response.text(),
    };
  };

  it.each([
    ['outputs.zip', 'application/zip'],
    ['outputs.json', 'application/json'],
    ['stdout', 'text/plain'],
    ['stderr', 'multipart/form-data; boundary=x'],
  ] as const)(
    '%s is stored as it comes, of whatever type, and replaced when sent again',
    async (file, type) => {
      expect(await put(file, '[1,', { 'content-type': type })).toEqual({ status: 204, body: undefined });
      expect(await put(file, '', { 'content-type': type })).toEqual({ status: 204, body: undefined });
      expect(await text(await app.store.read(attemptKey(JOB_ID, 2, file)))).toBe('');
      expect(await put(file, '[]')).toEqual({ status: 204, body: undefined });
      expect(await text(await app.store.read(attemptKey(JOB_ID, 2, file)))).toBe('[]');
    },
  );

  it('are not taken from an attempt that is no longer current', async () => {
    app.jobs.current = false;
    expect(await put('stdout', 'late')).toMatchObject({ status: 409, body: { code: 'stale_attempt' } });
    app.jobs.current = true;
    expect(await app.store.files()).toEqual([]);
  });

  it('have four names', async () => {
    expect(await put('passwd', 'x')).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  it('of inputs are given out', async () => {
    await app.store.write(inputKey(JOB_ID, 0), Readable.from([Buffer.from('ATOM')]));
    const token = await app.tokens.issue(JOB_ID, 2);
    expect(await get('0', token)).toEqual({ status: 200, type: '4', body: 'ATOM' });
    expect(await get('1', token)).toMatchObject({ status: 404 });
    expect(await get('..%2f2%2fstdout', token)).toMatchObject({ status: 404 });
  });

  it('open to the token of that attempt only', async () => {
    const other = await app.tokens.issue(JOB_ID, 1);
    for (const token of [other, 'x', other.slice(1), '']) {
      expect(await get('0', token)).toMatchObject({
        status: 401,
        body: expect.stringContaining('unauthenticated'),
      });
      expect(await put('stdout', 'x', { authorization: `Bearer ${token}` })).toMatchObject({ status: 401 });
    }
    expect(await app.store.files()).toEqual([]);
  });

  it('leave nothing when the body ends early', async () => {
    const socket = await open();
    const begun = app.store.nextWrite();
    const token = await app.tokens.issue(JOB_ID, 2);
    socket.write(
      head(`PUT /v1/attempts/${JOB_ID}/2/stdout`, 1e6, 'text/plain', `authorization: Bearer ${token}\r\n`),
    );
    socket.write(Buffer.alloc(5e5));
    await begun;
    socket.destroy();
    await app.store.writes.at(-1);
    expect(await app.store.files()).toEqual([]);
  });
});

describe('the output files of a job', () => {
  const large = randomBytes(3e6).toString('hex');
  const contents: [string, string, boolean?][] = [
    ['table.csv', 'a,b\n1,2\n', false],
    ['deep/Übung β.txt', large],
    ['stored.bin', large, false],
    ['plot.svg', '<svg onload="alert(1)"/>'],
    ['empty', ''],
  ];
  const url = (path: string) => `${app.url}/v1/jobs/${JOB_ID}${path}`;
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(url(path), { headers, method });

  beforeEach(async () => {
    app.jobs.outputs = { attempt: 3 };
    const archive = await zip(...contents);
    const listed = contents.map(([path, data]) => ({
      path,
      size: Buffer.byteLength(data),
      sha256: sha256(data),
    }));
    await app.store.write(attemptKey(JOB_ID, 3, 'outputs.zip'), Readable.from([archive]));
    const listing = Buffer.from(JSON.stringify(listed));
    await app.store.write(attemptKey(JOB_ID, 3, 'outputs.json'), Readable.from([listing]));
  });

  it('are listed, each with an address that answers with its content', async () => {
    const { files: listed } = (await (await get('/files')).json()) as {
      files: { path: string; href: string; sha256: string }[];
    };
    expect(listed.map(({ path }) => path)).toEqual(contents.map(([path]) => path));
    for (const [i, { href, sha256: hash }] of listed.entries()) {
      const response = await fetch(`${app.url}${href}`);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-length')).toBe(String(contents[i]![1].length));
      expect(sha256(Buffer.from(await response.arrayBuffer()))).toBe(hash);
    }
  });

  it.each(['stored.bin', 'deep/%C3%9Cbung%20%CE%B2.txt'])('of %s a range is answered', async (path) => {
    const cases: [string, number, number][] = [
      ['bytes=0-0', 0, 0],
      ['bytes=100-199', 100, 199],
      ['bytes=5999990-', 5999990, 5999999],
      ['bytes=5999990-99999999', 5999990, 5999999],
      ['bytes=-10', 5999990, 5999999],
    ];
    for (const [range, start, end] of cases) {
      const response = await get(`/files/${path}`, { range });
      expect(response.status).toBe(206);
      expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end}/6000000`);
      expect(response.headers.get('content-length')).toBe(String(end - start + 1));
      expect(await response.text()).toBe(large.slice(start, end + 1));
    }
  });

  it('answer 416 to a range outside, and send the whole for one that cannot be read', async () => {
    for (const [path, size] of [
      ['table.csv', 8],
      ['empty', 0],
    ]) {
      const outside = await get(`/files/${path}`, { range: 'bytes=8-' });
      expect(outside.headers.get('content-range')).toBe(`bytes */${size}`);
      expect(await outside.json()).toMatchObject({ status: 416, code: 'range_not_satisfiable' });
    }
    for (const range of ['bytes=5-2', 'lines=1-2', 'bytes=0-1,4-5', 'bytes=x']) {
      const whole = await get('/files/table.csv', { range });
      expect([whole.status, await whole.text()]).toEqual([200, 'a,b\n1,2\n']);
    }
  });

  it('go by their hash in If-Range and If-None-Match', async () => {
    const etag = `"${sha256('a,b\n1,2\n')}"`;
    const range = 'bytes=0-2';
    const same = await get('/files/table.csv', { range, 'if-range': etag });
    expect([same.status, await same.text(), same.headers.get('etag')]).toEqual([206, 'a,b', etag]);
    const other = await get('/files/table.csv', { range, 'if-range': '"other"' });
    expect([other.status, await other.text()]).toEqual([200, 'a,b\n1,2\n']);
    const known = await get('/files/table.csv', { 'if-none-match': etag });
    expect([known.status, await known.text()]).toEqual([304, '']);
  });

  it('can be asked for with HEAD, which opens no blob for the content', async () => {
    for (const path of ['/files/stored.bin', '/archive.zip']) {
      const reads = app.store.reads.length;
      const response = await get(path, {}, 'HEAD');
      expect(response.status).toBe(200);
      expect(Number(response.headers.get('content-length'))).toBeGreaterThanOrEqual(6e6);
      expect(response.headers.get('accept-ranges')).toBe('bytes');
      expect(await response.text()).toBe('');
      expect(app.store.reads.length - reads).toBe(path.endsWith('.zip') ? 0 : 1);
    }
  });

  it('never run as a page of this server', async () => {
    const { headers } = await get('/files/plot.svg');
    expect(headers.get('content-type')).toBe('image/svg+xml');
    expect(headers.get('content-disposition')).toMatch(/^attachment; filename="plot.svg"/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain('sandbox');
  });

  it('come as one archive, in ranges too', async () => {
    const whole = Buffer.from(await (await get('/archive.zip')).arrayBuffer());
    expect(whole.equals(await zip(...contents))).toBe(true);
    const tail = await get('/archive.zip', { range: 'bytes=-22' });
    expect(tail.status).toBe(206);
    expect(Buffer.from(await tail.arrayBuffer()).readUInt32LE()).toBe(0x06054b50);
  });

  it('that are not there are 404, as are those of unknown jobs', async () => {
    for (const path of ['/files/none', '/files/..%2f..%2fx', '/files/deep']) {
      expect(await (await get(path)).json()).toMatchObject({ status: 404, code: 'not_found' });
    }
    const unknown = await fetch(`${app.url}/v1/jobs/other/files`);
    expect(await unknown.json()).toMatchObject({ status: 404, code: 'not_found' });
  });

  it('are none before there is an attempt with outputs', async () => {
    app.jobs.outputs = undefined;
    expect(await (await get('/files')).json()).toEqual({ files: [] });
    for (const path of ['/archive.zip', '/files/table.csv']) {
      expect(await (await get(path)).json()).toMatchObject({ status: 404, code: 'no_outputs' });
    }
  });

  it.each(['/files/stored.bin', '/files/deep/%C3%9Cbung%20%CE%B2.txt', '/archive.zip'])(
    'of %s no blob stays open when the client goes away',
    async (path) => {
      const socket = await open();
      socket.write(head(`GET /v1/jobs/${JOB_ID}${path}`, 0, 'text/plain'));
      await once(socket, 'readable');
      const stream = app.store.reads.at(-1)!;
      const closed = new Promise((resolve) =>
        stream.closed ? resolve(null) : stream.once('close', resolve),
      );
      socket.destroy();
      await closed;
      expect(stream.closed).toBe(true);
    },
  );
});

async function open(port = app.port): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

function head(line: string, length: number, type: string, more = ''): string {
  return `${line} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n${more}\r\n`;
}

/** The next answer, head and body, on a connection that stays open. */
async function answer(socket: Socket): Promise<string> {
  let got = '';
  for (;;) {
    const headEnd = got.indexOf('\r\n\r\n');
    const length = /content-length: (\d+)/i.exec(got)?.[1];
    if (headEnd > 0 && Buffer.byteLength(got.slice(headEnd + 4)) >= Number(length)) return got;
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    got += chunk.toString();
  }
}
