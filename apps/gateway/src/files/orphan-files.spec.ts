import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { attemptKey, inputKey } from './blob-keys.js';
import { DirectoryBlobStore } from './directory-blob-store.js';
import { OrphanFiles } from './orphan-files.js';

const job = (number: number) => `0190b0de-0000-7000-8000-${String(number).padStart(12, '0')}`;
const OLD = new Date(Date.now() - 25 * 3600 * 1000);

let directory: string;
let store: DirectoryBlobStore;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'labhand-orphans-'));
  store = new DirectoryBlobStore(directory);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function put(key: string, modifiedAt: Date): Promise<void> {
  await store.write(key, Readable.from([Buffer.from('x')]));
  await utimes(join(directory, key), modifiedAt, modifiedAt);
}

async function left(): Promise<string[]> {
  const jobs = [];
  for await (const { key } of store.list('jobs/')) jobs.push(key);
  return jobs.sort();
}

it('old files of no job are removed, those of jobs and young ones stay', async () => {
  await put(inputKey(job(1), 0), OLD);
  await put(attemptKey(job(1), 1, 'outputs.zip'), OLD);
  await put(inputKey(job(2), 0), OLD);
  await put(inputKey(job(3), 0), new Date());
  await put(inputKey(job(4), 0), OLD);
  await put(inputKey(job(4), 1), new Date());
  await new OrphanFiles(store).sweep(async (ids) => new Set(ids.filter((id) => id === job(2))));
  expect(await left()).toEqual([
    inputKey(job(2), 0),
    inputKey(job(3), 0),
    inputKey(job(4), 0),
    inputKey(job(4), 1),
  ]);
});

it('many jobs are asked for in portions, each once', async () => {
  const ids = Array.from({ length: 501 }, (_, i) => job(i));
  for (const id of ids) await put(inputKey(id, 0), OLD);
  const asked: string[][] = [];
  await new OrphanFiles(store).sweep(async (portion) => {
    asked.push(portion);
    return new Set(portion);
  });
  expect(asked.map((portion) => portion.length)).toEqual([500, 1]);
  expect(asked.flat().sort()).toEqual(ids);
  expect(await left()).toHaveLength(501);
});

it('what is not named like a job is left alone', async () => {
  await put('jobs/README/me', OLD);
  await new OrphanFiles(store).sweep(async () => new Set());
  expect(await left()).toEqual(['jobs/README/me']);
});

it('writes that a dead gateway began are removed once they are old', async () => {
  await store.check();
  const half = join(directory, '.unfinished', 'half');
  await writeFile(half, 'x');
  await new OrphanFiles(store).sweep(async () => new Set());
  expect(await readdir(join(directory, '.unfinished'))).toEqual(['half']);
  await utimes(half, OLD, OLD);
  await new OrphanFiles(store).sweep(async () => new Set());
  expect(await readdir(join(directory, '.unfinished'))).toEqual([]);
});
