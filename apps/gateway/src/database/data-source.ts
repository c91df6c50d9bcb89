import { DataSource } from 'typeorm';
import { Jobs1700000000001 } from './migrations/0001-jobs.js';

/** Connections that one gateway opens at most. */
const POOL_SIZE = 16;

/** Milliseconds; all of them together take less for a million jobs. */
const STATEMENT_MS = 25_000;

/**
 * @param url postgres://user:password@host:port/database
 */
export function createDataSource(url: string): DataSource {
  return new DataSource({
    type: 'postgres',
    url,
    entities: [],
    migrations: [Jobs1700000000001],
    migrationsTableName: 'migrations',
    // Migrations are hand-written; nothing may guess at the schema.
    synchronize: false,
    poolSize: POOL_SIZE,
    applicationName: 'labhand-gateway',
    extra: {
      // What is asked on one connection before the first answer goes out at once; transactions wait for each all the same.
      pipeline: true,
      keepAlive: true,
      connectionTimeoutMillis: 10_000,
      // A Postgres with LLVM, as most are, would compile each claim anew, for a tenth of a second: the planner takes
      // its steps for dear, and they run over few rows.
      options: '-c jit=off',
      // A network that forgets a connection says nothing: whoever waits for an answer would wait for ever. The server
      // gives up first, so that nothing is done behind our back.
      statement_timeout: STATEMENT_MS,
      query_timeout: STATEMENT_MS + 5_000,
    },
  });
}
