import { randomBytes } from 'node:crypto';
import { Client } from 'pg';

/** Migrated once per run; a copy of it takes some 40 ms. */
export const TEMPLATE_DATABASE = 'labhand_template';

export interface TestDatabase {
  readonly url: string;
  /** Cuts the connections that are still open and removes the database. */
  drop(): Promise<void>;
}

/** A migrated, empty database for one test file, on the Postgres that the run's global setup started. */
export async function freshDatabase(): Promise<TestDatabase> {
  const server = process.env.LABHAND_RUN_DATABASE_URL;
  if (!server) throw new Error('no Postgres was started: tests that need one stand below test/');
  const name = `labhand_${randomBytes(8).toString('hex')}`;
  await runOnce(server, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE_DATABASE}`);
  return {
    url: databaseUrl(server, name),
    drop: () => runOnce(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

/** The address of another database on the same server. */
export function databaseUrl(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs one statement on a connection of its own. */
export async function runOnce(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
