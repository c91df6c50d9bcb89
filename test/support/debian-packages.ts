import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Unpacking {
  /** Of the folder below the cache. */
  readonly name: string;
  readonly packages: readonly string[];
  /** Packages that are fetched even where they are installed: names begin with one of these. */
  readonly whole?: readonly string[];
  /** What is done to the tree before it gets its name. */
  finish?(tree: string): Promise<void>;
}

/**
 * The folder into which Debian's packages and all that they need beyond what is installed are unpacked; made once,
 * below .cache/ or LABHAND_CACHE_DIR. Needs no root: apt gets folders of its own for all that it writes.
 * @throws {Error} they cannot be had
 */
export async function unpackedPackages(unpacking: Unpacking): Promise<string> {
  const cache = cacheFolder(unpacking.name);
  const root = path.join(cache, await systemName());
  await mkdir(cache, { recursive: true });
  if (!existsSync(root)) await withLock(`${root}.lock`, () => unpackInto(root, unpacking));
  return root;
}

/** Where things stay that are fetched once: below .cache/ or LABHAND_CACHE_DIR. */
export function cacheFolder(name: string): string {
  return path.resolve(process.env.LABHAND_CACHE_DIR ?? '.cache', name);
}

async function systemName(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const id = /^ID="?([\w.-]+)/m.exec(release)?.[1] ?? 'linux';
  const version = /^VERSION_ID="?([\w.-]+)/m.exec(release)?.[1] ?? '0';
  return `${id}-${version}-${process.arch}`;
}

async function unpackInto(root: string, unpacking: Unpacking): Promise<void> {
  if (existsSync(root)) return;
  const work = `${root}.new`;
  await rm(work, { recursive: true, force: true });
  try {
    const tree = path.join(work, 'root');
    for (const archive of await download(work, unpacking)) await run('dpkg-deb', ['-x', archive, tree]);
    await unpacking.finish?.(tree);
    // The name appears when all of it is there.
    await rename(tree, root);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    const names = unpacking.packages.join(', ');
    throw new Error(`the packages of ${names} cannot be had (${(stderr || message).trim()})`, {
      cause: error,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** @returns the archives of the packages and all that they need beyond what is installed */
async function download(work: string, { packages, whole = [] }: Unpacking): Promise<string[]> {
  const archives = path.join(work, 'cache/archives');
  await mkdir(path.join(archives, 'partial'), { recursive: true });
  await mkdir(path.join(work, 'lists/partial'), { recursive: true });
  await writeFile(path.join(work, 'status'), await installedWithout(whole));
  const options = [
    '-qq',
    `-oDir::State=${work}`,
    `-oDir::State::lists=${work}/lists`,
    `-oDir::State::status=${work}/status`,
    `-oDir::Cache=${work}/cache`,
    '-oAPT::Sandbox::User=',
    '-oDebug::NoLocking=1',
    '-oAcquire::Languages=none',
  ];
  await run('apt-get', [...options, 'update']);
  await run('apt-get', [
    ...options,
    'install',
    '--yes',
    '--no-install-recommends',
    '--download-only',
    ...packages,
  ]);
  const names = (await readdir(archives)).filter((name) => name.endsWith('.deb'));
  return names.map((name) => path.join(archives, name));
}

async function installedWithout(names: readonly string[]): Promise<string> {
  const installed = await readFile('/var/lib/dpkg/status', 'utf8');
  return installed
    .split('\n\n')
    .filter((entry) => !names.some((name) => entry.startsWith(`Package: ${name}`)))
    .join('\n\n');
}

async function withLock(lock: string, work: () => Promise<void>): Promise<void> {
  while (!(await taken(lock))) await delay(200);
  try {
    await work();
  } finally {
    await rm(lock, { force: true });
  }
}

/** @returns whether the lock is ours now; one whose owner is dead is removed */
async function taken(lock: string): Promise<boolean> {
  try {
    await writeFile(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const owner = Number(await readFile(lock, 'utf8').catch(() => ''));
  if (owner && !existsSync(`/proc/${owner}`)) await rm(lock, { force: true });
  return false;
}
