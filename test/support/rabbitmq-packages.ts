import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * The folder into which Debian's rabbitmq-server and the Erlang that it needs are unpacked; made once, below
 * .cache/ or LABHAND_CACHE_DIR. Needs no root: apt gets folders of its own for all that it writes.
 * @throws {Error} they cannot be had
 */
export async function unpackedRabbitMq(): Promise<string> {
  const cache = path.resolve(process.env.LABHAND_CACHE_DIR ?? '.cache', 'rabbitmq');
  const root = path.join(cache, await systemName());
  await mkdir(cache, { recursive: true });
  if (!existsSync(root)) await withLock(`${root}.lock`, () => unpackInto(root));
  return root;
}

async function systemName(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const id = /^ID="?([\w.-]+)/m.exec(release)?.[1] ?? 'linux';
  const version = /^VERSION_ID="?([\w.-]+)/m.exec(release)?.[1] ?? '0';
  return `${id}-${version}-${process.arch}`;
}

async function unpackInto(root: string): Promise<void> {
  if (existsSync(root)) return;
  const work = `${root}.new`;
  await rm(work, { recursive: true, force: true });
  try {
    const tree = path.join(work, 'root');
    for (const archive of await download(work)) await run('dpkg-deb', ['-x', archive, tree]);
    await makeMovable(tree);
    // The name appears when all of it is there.
    await rename(tree, root);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new Error(`the packages of rabbitmq-server cannot be had (${(stderr || message).trim()})`, {
      cause: error,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** @returns the archives of rabbitmq-server and all that it needs beyond what is installed */
async function download(work: string): Promise<string[]> {
  const archives = path.join(work, 'cache/archives');
  await mkdir(path.join(archives, 'partial'), { recursive: true });
  await mkdir(path.join(work, 'lists/partial'), { recursive: true });
  await writeFile(path.join(work, 'status'), await installedWithoutErlang());
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
    'rabbitmq-server',
  ]);
  const names = (await readdir(archives)).filter((name) => name.endsWith('.deb'));
  return names.map((name) => path.join(archives, name));
}

/** An installed Erlang may lack parts, and stands elsewhere: apt shall fetch a whole one. */
async function installedWithoutErlang(): Promise<string> {
  const installed = await readFile('/var/lib/dpkg/status', 'utf8');
  return installed
    .split('\n\n')
    .filter((entry) => !/^Package: (erlang|rabbitmq)/m.test(entry))
    .join('\n\n');
}

/** Erlang's scripts have their folder written into them. */
async function makeMovable(tree: string): Promise<void> {
  const erlang = path.join(tree, 'usr/lib/erlang');
  const runtime = (await readdir(erlang)).filter((name) => name.startsWith('erts-'));
  for (const folder of ['bin', ...runtime.map((name) => path.join(name, 'bin'))]) {
    const script = path.join(erlang, folder, 'erl');
    const text = await readFile(script, 'utf8');
    await writeFile(script, text.replaceAll(/ROOTDIR=\/usr\/lib\/erlang$/gm, 'ROOTDIR="$ERL_ROOTDIR"'));
  }
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
