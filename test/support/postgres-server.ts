import { mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startEmbeddedPostgres } from '../../apps/standalone/src/embedded-postgres.js';

/** The Postgres of one test run: the one of LABHAND_TEST_DATABASE_URL, else an embedded one that forgets all. */

export interface TestPostgres {
  /** Of a user who may create databases. */
  readonly url: string;
  stop(): Promise<void>;
}

const PREFIX = 'labhand-test-postgres-';

export async function startTestPostgres(modules: string): Promise<TestPostgres> {
  const given = process.env.LABHAND_TEST_DATABASE_URL;
  if (given) return { url: given, stop: async () => undefined };
  removeFoldersOfKilledRuns();
  const directory = path.join(os.tmpdir(), `${PREFIX}${process.pid}`);
  remove(directory);
  const server = await startEmbeddedPostgres({ directory, modules, fsync: false });
  return {
    url: server.url,
    async stop() {
      await server.stop();
      remove(directory);
    },
  };
}

function removeFoldersOfKilledRuns(): void {
  for (const name of readdirSync(os.tmpdir()).filter((entry) => entry.startsWith(PREFIX))) {
    if (!isAlive(Number(name.slice(PREFIX.length)))) remove(path.join(os.tmpdir(), name));
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The folder may be a link to where the server's account can reach it. */
function remove(directory: string): void {
  mkdirSync(path.dirname(directory), { recursive: true });
  try {
    rmSync(realpathSync(directory), { recursive: true, force: true });
  } catch (error) {
    // Another user's, or none at all.
    if (!['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  rmSync(directory, { force: true });
}
