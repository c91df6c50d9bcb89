import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { fromBufferPromise } from 'yauzl';
import { DirectoryBlobStore } from '#gateway/files/directory-blob-store.js';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';
import type { Answer, FilePart, ProblemBody } from '../support/client.js';
import { startHouse, type House } from '../support/house.js';
import { jobProcesses } from '../support/processes.js';
import { eventually } from '../support/signals.js';
import { spooled } from '../support/spooled.js';
import { filesBelow } from '../support/town.js';

const sh = (script: string): JobSpecInput => ({ command: ['sh', '-c', script] });
const TRUE = { command: ['true'] };

let house: House;

describe('a submission that is wrong', () => {
  beforeAll(async () => {
    house = await startHouse({
      gateway: { callbacks: { allow: [], httpsOnly: true } },
      worker: {
        queues: { default: 1, small: 1 },
        queueSettings: { small: { policy: 'any', onOutputLimit: 'cut', maxUpload: 1000 } },
      },
    });
  });
  afterAll(() => house.end());
  /** Neither a row nor a file. */
  afterEach(async () => {
    const { body } = await house.client.get<{ jobs: JobView[] }>('/v1/jobs');
    expect(body.jobs).toEqual([]);
    expect(storedBlobs()).toEqual([]);
  });

  it.each<[string, object, string, string]>([
    ['an unknown queue', { ...TRUE, queue: 'defualt' }, 'queue', 'default'],
    ['an unknown field', { ...TRUE, lables: {} }, 'lables', '"labels"'],
    ['a wrong type', { ...TRUE, priority: 'high' }, 'priority', 'number'],
    ['a wrong value', { ...TRUE, limits: { wallTime: 'soon' } }, 'limits.wallTime', '"2h"'],
    [
      'a callback over http where only https is allowed',
      { ...TRUE, callback: { url: 'http://portal.example/done' } },
      'callback.url',
      'https',
    ],
    [
      'a path that leads out',
      { ...TRUE, inputs: [{ path: '../x', content: '' }] },
      'inputs',
      'relative path',
    ],
    [
      'an absolute path',
      { ...TRUE, inputs: [{ path: '/etc/passwd', content: '' }] },
      'inputs',
      'relative path',
    ],
    [
      'two inputs of one path',
      { ...TRUE, inputs: [1, 2].map((n) => ({ path: 'a', content: String(n) })) },
      'inputs',
      'give each its own',
    ],
    ['no command', {}, 'command', 'run.sh'],
    ['a text with a NUL', { ...TRUE, name: 'a\0b' }, 'name', 'remove it'],
    ['a text with half a character', { ...TRUE, labels: { a: 'b\ud800' } }, 'labels.a', 'remove it'],
  ])('for %s is refused with field and remedy', async (_what, job, field, remedy) => {
    const answer = await house.client.post<ProblemBody>('/v1/jobs', job);
    expectProblem(answer, 422, field, remedy);
  });

  it.each<[string, JobSpecInput, FilePart[] | (() => Promise<FilePart[]>), number, string, string]>([
    ['a path that leads out', TRUE, [['file', '../x', '']], 422, 'file[0]', 'relative path'],
    [
      'an absolute path',
      TRUE,
      [
        ['file', 'ok', ''],
        ['file', '/x', ''],
      ],
      422,
      'file[1]',
      'relative path',
    ],
    [
      'two files of one path',
      TRUE,
      [
        ['file', 'a', '1'],
        ['file', 'a', '2'],
      ],
      422,
      'file[1]',
      'give each its own',
    ],
    [
      'a file over the limit',
      { ...TRUE, queue: 'small' },
      [['file', 'a', 'x'.repeat(1001)]],
      413,
      'file[0]',
      'split it',
    ],
    [
      'an archive with a link',
      TRUE,
      async () => [['archive', 'a.tar', await tarOf('symlink')]],
      422,
      'archive[0]',
      'symbolic link',
    ],
    [
      'an archive that leads out',
      TRUE,
      async () => [['archive', 'a.tar', await tarOf('../x')]],
      422,
      'archive[0]',
      'relative paths',
    ],
    ['a bomb', TRUE, [['archive', 'a.tar.zst', bomb()]], 422, 'archive[0]', '1000 times'],
  ])('with %s is refused with field and remedy', async (_what, job, files, status, field, remedy) => {
    const parts = Array.isArray(files) ? files : await files();
    const answer = await house.client.upload<ProblemBody>(job, parts);
    expectProblem(answer, status, field, remedy);
  });

  it.each([
    ['JSON', 'application/json', '{"command":', 0],
    [
      'a form',
      'multipart/form-data; boundary=b',
      '--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"command":["true"]}\r\n' +
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of it',
      1,
    ],
  ])('whose body ends early, as %s, is no submission', async (_what, type, body, halfMade) => {
    const { port, hostname } = new URL(house.url);
    const socket = connect(Number(port), hostname);
    socket.write(
      `POST /v1/jobs HTTP/1.1\r\nHost: labhand\r\nAuthorization: Bearer ${house.adminKey}\r\n` +
        `Content-Type: ${type}\r\nContent-Length: 1000000\r\n\r\n${body}`,
    );
    await eventually(() => storedBlobs().length, halfMade);
    socket.end();
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    await eventually(() => storedBlobs().length, 0);
  });
});

describe('a full disk', () => {
  beforeAll(async () => {
    house = await startHouse();
  });
  afterAll(() => house.end());

  it('is told to who submits, leaves neither row nor file, and is forgotten when there is room again', async () => {
    const unfinished = join(house.folder, 'blobs/.unfinished');
    mkdirSync(unfinished, { recursive: true });
    // The kernel itself says ENOSPC, to root too.
    const full = join(unfinished, 'full');
    symlinkSync('/dev/full', full);
    const store = DirectoryBlobStore.prototype as unknown as { temporaryPath(): string };
    const temporaryPath = jest.spyOn(store, 'temporaryPath').mockReturnValue(full);
    const files: FilePart[] = [['file', 'a', 'x'.repeat(100_000)]];
    const refused = await house.client.upload<ProblemBody>(TRUE, files);
    temporaryPath.mockRestore();
    expect(refused).toMatchObject({ status: 507, body: { code: 'storage_full' } });
    expect(storedBlobs()).toEqual([]);
    expect((await house.client.get<{ jobs: JobView[] }>('/v1/jobs')).body.jobs).toEqual([]);

    const { body } = await house.client.upload({ command: ['wc', '-c', 'a'] }, files);
    const { body: job } = await house.client.get(`/v1/jobs/${body.id}?wait=30`);
    expect(job.logs!.stdout.tail).toBe('100000 a\n');
  });
});

describe('a command that goes wrong', () => {
  beforeAll(async () => {
    house = await startHouse();
  });
  afterAll(() => house.end());
  /** The worker is as before. */
  afterEach(async () => {
    await eventually(() => jobProcesses(house.folder).length, 0);
    const state = join(house.folder, 'worker-0');
    await eventually(() => spooled(state).join(), '');
    await eventually(() => filesBelow(join(state, 'work')).join(), '');
    expect(await house.run(sh('echo still here'))).toMatchObject({ state: 'succeeded' });
  });

  it.each<[string, JobSpecInput, object]>([
    ['does not exist', { command: ['./no-such-program'] }, { reason: 'spawn_error' }],
    [
      'is not executable',
      { command: ['./data'], inputs: [{ path: 'data', content: 'text' }] },
      { reason: 'spawn_error' },
    ],
  ])('because it %s says so', async (_what, job, end) => {
    const ended = await house.run(job);
    expect(ended).toMatchObject({ state: 'failed', ...end });
    expect(ended.message).toMatch(/no-such-program|data/);
  });

  it.each<[string, string, object]>([
    ['exits with a code', 'exit 42', { reason: 'exit_code', exitCode: 42 }],
    ['dies of a signal', 'kill -KILL $$', { reason: 'signal', signal: 'SIGKILL' }],
    ['outlives its limit', 'sleep 60', { reason: 'timeout' }],
    ['outlives its limit, deaf to TERM', "trap '' TERM; sleep 60; sleep 60", { reason: 'timeout' }],
  ])('and %s ends with the reason, its log and its outputs', async (_what, fault, end) => {
    const job = await house.run({
      ...sh(`echo said; echo complained >&2; echo kept > result.txt; ${fault}`),
      limits: { wallTime: '500ms', killGrace: '300ms' },
    });
    expect(job).toMatchObject({ state: 'failed', ...end, outputs: { files: 1 } });
    expect(await house.client.text(`${job.links.logs}?stream=stdout`)).toBe('said\n');
    expect(await house.client.text(`${job.links.logs}?stream=stderr`)).toBe('complained\n');
    expect(await house.client.text(`${job.links.files}/result.txt`)).toBe('kept\n');
  });

  it.each([
    ['at once', ''],
    ['and runs on', 'sleep 0.5;'],
  ])('and closes its logs %s keeps them, and harms none that comes after it', async (_when, wait) => {
    const closed = await house.run(
      sh(`chmod 0 /proc/self/fd/1 /proc/self/fd/2; ${wait} echo said; echo more >&2`),
    );
    expect(closed).toMatchObject({
      state: 'succeeded',
      logs: { stdout: { tail: 'said\n' }, stderr: { tail: 'more\n' } },
    });
    expect(await house.run(sh('echo next'))).toMatchObject({
      state: 'succeeded',
      logs: { stdout: { tail: 'next\n' } },
    });
  });

  it.each(['chmod 500 ..', 'chmod 0 "$HOME" . ..'])(
    'and closes its folders (%s) harms none that comes after it',
    async (close) => {
      await house.run(sh(`${close}; exit 0`));
      const next = await house.run(sh('echo 50 > "$LABHAND_PROGRESS" && touch "$HOME/x" made'));
      expect(next).toMatchObject({ state: 'succeeded', outputs: { files: 1 } });
    },
  );

  it('with words that look like what Postgres cannot keep has them kept', async () => {
    const job = await house.run({ command: ['printf', '%s', '\\u0000 \\ud800'] });
    expect(job).toMatchObject({ state: 'succeeded', command: ['printf', '%s', '\\u0000 \\ud800'] });
    expect(job.logs!.stdout.tail).toBe('\\u0000 \\ud800');
  });

  it('and prints 100 MB has all of it in its log', async () => {
    const job = await house.run(sh('yes 0123456789abcdef | head -c 100000000'));
    expect(job).toMatchObject({ state: 'succeeded' });
    const { body } = await house.client.get<Buffer>(`${job.links.logs}?stream=stdout`);
    expect(body.length).toBe(100_000_000);
    const line = '0123456789abcdef\n';
    expect(body.equals(Buffer.alloc(100_000_000, line))).toBe(true);
  });

  it('and writes 10,000 files gives all of them', async () => {
    const job = await house.run(sh('for n in $(seq 10000); do echo $n > file-$n.txt; done'));
    expect(job).toMatchObject({ state: 'succeeded', outputs: { files: 10_000 } });
    expect(await house.client.text(`${job.links.files}/file-9876.txt`)).toBe('9876\n');
    const { body } = await house.client.get<Buffer>(job.links.archive!);
    expect((await fromBufferPromise(body)).entryCount).toBe(10_000);
  });

  it('and leaves a child behind ends without it', async () => {
    const job = await house.run(sh('sleep 300 & setsid sleep 300 & echo done'));
    expect(job).toMatchObject({ state: 'succeeded' });
    expect(job.logs!.stdout.tail).toBe('done\n');
  });
});

function storedBlobs(): string[] {
  const folder = join(house.folder, 'blobs');
  return existsSync(folder) ? filesBelow(folder).filter((name) => !name.endsWith('/full')) : [];
}

function expectProblem(
  { status, headers, body }: Answer<ProblemBody>,
  expected: number,
  field: string,
  remedy: string,
): void {
  expect({ status, type: headers.get('content-type') }).toMatchObject({
    status: expected,
    type: expect.stringContaining('application/problem+json'),
  });
  const { errors = [] } = body;
  expect(errors.map(({ path }) => path)).toEqual([expect.stringContaining(field)]);
  expect(errors[0]!.message + body.detail).toContain(remedy);
}

/** A tar with a symbolic link, or with a file of that name. */
function tarOf(name: string): Promise<Buffer> {
  const archive = pack();
  if (name === 'symlink') archive.entry({ name, type: 'symlink', linkname: '/etc' });
  else archive.entry({ name }, 'x');
  archive.finalize();
  return buffer(archive);
}

/** 3,000 times the order to repeat a zero a hundred thousand times, as zstd writes it. */
function bomb(): Buffer {
  const order = Buffer.from('02001000', 'hex');
  return Buffer.concat([Buffer.from('28b52ffd0050', 'hex'), ...Array.from({ length: 3000 }, () => order)]);
}
