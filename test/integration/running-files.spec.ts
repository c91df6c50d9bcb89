import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BROKER } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { Client, type ProblemBody } from '../support/client.js';
import { startHouse, type House } from '../support/house.js';
import { eventually } from '../support/signals.js';

interface Files {
  readonly partial?: boolean;
  readonly files: readonly {
    path: string;
    size: number;
    href: string;
    partial?: boolean;
    sha256?: string;
  }[];
}

let house: House;
let flags: string;

beforeAll(async () => {
  house = await startHouse();
  flags = mkdtempSync(join(tmpdir(), 'labhand-flags-'));
});
afterAll(async () => {
  await house.end();
  rmSync(flags, { recursive: true });
});

/** Runs until the test says so, once it has told on stdout that it is ready. */
async function begin(script: string, flag: string): Promise<string> {
  const wait = `echo ready; while [ ! -e ${join(flags, flag)} ]; do sleep 0.02; done`;
  const { body } = await house.client.upload({ command: ['sh', '-c', `${script}; ${wait}`] }, [
    ['file', 'input.txt', 'the input'],
  ]);
  await eventually(() => house.client.text(`/v1/jobs/${body.id}/logs?stream=stdout`), 'ready\n');
  return body.id;
}
const say = (flag: string) => writeFileSync(join(flags, flag), '');

function transfersLeft(id: string): string[] {
  const folder = join(house.folder, 'blobs/jobs', id, 'partial');
  return existsSync(folder) ? readdirSync(folder) : [];
}

describe('the files of a running job', () => {
  it('are listed and fetched, at any gateway, and its inputs are not among them', async () => {
    const id = await begin('mkdir -p out; seq 1 100000 > out/numbers.txt; : > empty', 'listed');
    const other = await house.startGateway();
    const client = new Client(other.url, house.adminKey);
    const { body } = await client.get<Files>(`/v1/jobs/${id}/files`);
    expect(body.partial).toBe(true);
    expect(body.files).toMatchObject([
      { path: 'empty', size: 0, partial: true },
      { path: 'out/numbers.txt', size: 588_895, partial: true },
    ]);
    const expected = Array.from({ length: 100_000 }, (_, n) => `${n + 1}\n`).join('');
    const href = body.files[1]!.href;
    expect(await client.text(href)).toBe(expected);
    expect(await client.text(body.files[0]!.href)).toBe('');
    const range = await client.get<Buffer>(href, { range: 'bytes=-7' });
    expect([range.status, range.body.toString()]).toEqual([206, '100000\n']);
    expect((await client.get(`/v1/jobs/${id}/files/input.txt`)).status).toBe(404);
    expect((await client.get(`/v1/jobs/${id}/archive.zip`)).status).toBe(404);
    await eventually(() => transfersLeft(id).length, 0);
    await other.stop();

    say('listed');
    await house.client.get(`/v1/jobs/${id}?wait=30`);
    const { body: after } = await house.client.get<Files>(`/v1/jobs/${id}/files`);
    expect(after.partial).toBeUndefined();
    expect(after.files.map(({ path, sha256 }) => [path, typeof sha256])).toEqual([
      ['empty', 'string'],
      ['out/numbers.txt', 'string'],
    ]);
  });

  it('are not what links in its workspace point to', async () => {
    const id = await begin('ln -s /etc/passwd passwd; ln -s /etc folder; echo own > own.txt', 'links');
    const { body } = await house.client.get<Files>(`/v1/jobs/${id}/files`);
    expect(body.files.map(({ path }) => path)).toEqual(['own.txt']);
    for (const path of ['passwd', 'folder/passwd', '..%2f..%2fstate', '%2e%2e/%2e%2e/etc/passwd']) {
      expect((await house.client.get(`/v1/jobs/${id}/files/${path}`)).status).toBe(404);
    }
    say('links');
    await house.client.get(`/v1/jobs/${id}?wait=30`);
  });

  it('are not there for others, and none before it runs', async () => {
    const id = (await house.client.post('/v1/jobs', { command: ['true'], hold: true })).body.id;
    expect((await house.client.get<Files>(`/v1/jobs/${id}/files`)).body).toEqual({ files: [] });
    expect((await house.client.get(`/v1/jobs/${id}/files/a`)).status).toBe(404);
    expect((await house.client.get(`/v1/jobs/${randomUUID()}/files`)).status).toBe(404);
  });

  it('cannot be had from a worker that does not answer, and the client is told so', async () => {
    const channel = new ChannelClient(house.gateway.app.get(BROKER));
    const workerId = 'silent';
    await channel.ask(
      'register',
      {
        workerId,
        host: 'here',
        version: '0',
        startedAt: new Date().toISOString(),
        queues: { silent: { slots: 1 } },
        capabilities: {},
      },
      { timeoutMs: 5000 },
    );
    const { id } = (await house.client.post('/v1/jobs', { command: ['true'], queue: 'silent' })).body;
    await channel.ask('claim', { claimId: randomUUID(), workerId, queue: 'silent' }, { timeoutMs: 5000 });
    const { status, body } = await house.client.get<ProblemBody>(`/v1/jobs/${id}/files`);
    expect([status, body.code]).toEqual([409, 'worker_unreachable']);
  });
});
