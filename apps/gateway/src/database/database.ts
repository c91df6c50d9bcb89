import type { Writable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import type { Pool, PoolClient, QueryResultRow } from 'pg';
import type { DataSource } from 'typeorm';

const DEADLOCK = '40P01';
const SERIALIZATION_FAILURE = '40001';
const ROUNDS = 5;

/** In the FROM of a statement: its commit does not wait for the disk. For `Database.lightly` alone. */
export const LIGHTLY = `(SELECT set_config('synchronous_commit', 'off', true)) AS lightly`;

/** Its commit waits for the disk, and with it for everything that was committed before, unless all of it is there. */
const FLUSH = {
  name: 'flush',
  text: `SELECT pg_logical_emit_message(true, 'labhand', '') WHERE pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()`,
};

/** A statement that each connection plans once, under its name. */
export interface Prepared {
  readonly name: string;
  readonly text: string;
  readonly values: unknown[];
}

/** Who is told of the rows of a light statement meanwhile. */
export interface Told<T> {
  /** Everybody sees them, but they may still vanish. */
  readonly committed?: (rows: readonly T[]) => void;
  /** They are on the disk. */
  readonly kept?: (rows: readonly T[]) => void;
}

/** Runs statements; one method each for what the features need. */
export interface Statements {
  query<T extends QueryResultRow>(text: string, values?: unknown[]): Promise<T[]>;
  one<T extends QueryResultRow>(text: string, values?: unknown[]): Promise<T | undefined>;
}

/**
 * SQL as it is written, on TypeORM's pool. A statement given here is whole: it commits or it never was, so one
 * that Postgres chose as a deadlock's victim is simply run again.
 */
@Injectable()
export class Database implements Statements {
  private readonly pool: Pool;

  constructor(readonly dataSource: DataSource) {
    this.pool = (dataSource.driver as unknown as { master: Pool }).master;
  }

  async query<T extends QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
    return again(async () => (await this.pool.query<T>(text, values)).rows);
  }

  async one<T extends QueryResultRow>(text: string, values: unknown[] = []): Promise<T | undefined> {
    return (await this.query<T>(text, values))[0];
  }

  /** For statements that run often: planned once per connection. */
  async prepared<T extends QueryResultRow>(name: string, text: string, values: unknown[]): Promise<T[]> {
    return again(async () => (await this.pool.query<T>({ name, text, values })).rows);
  }

  /**
   * For the few statements that run for every job, planned once per connection. They say `LIGHTLY`: the rows that one
   * locked are free at once, and it is only we who wait for the disk. On the same connection, for one that answers is
   * of the server that knows of the commit, and not of one that was started since and does not.
   */
  async lightly<T extends QueryResultRow>(statement: Prepared, told: Told<T> = {}): Promise<T[]> {
    return this.connected(async (client) => {
      const [rows, flushed] = together(client, () => [run(client, statement, told), client.query(FLUSH)]);
      return kept(rows, flushed, told);
    });
  }

  /**
   * Likewise two of them, one after the other, with one wait for the disk. They commit each for itself: that the second
   * one failed is told instead of its rows, and takes nothing from the first.
   * @param told of the first
   */
  async bothLightly<A extends QueryResultRow, B extends QueryResultRow>(
    first: Prepared,
    second: Prepared,
    told: Told<A> = {},
  ): Promise<[A[], B[] | Error]> {
    return this.connected(async (client) => {
      const [rows, following, flushed] = together(client, () => [
        run(client, first, told),
        run<B>(client, second).catch((error: Error) => error),
        client.query(FLUSH),
      ]);
      return Promise.all([kept(rows, flushed, told), following]);
    });
  }

  /** Runs `work` in one transaction; run again from its start after a deadlock. */
  async transaction<R>(work: (statements: Statements) => Promise<R>): Promise<R> {
    return this.connected(async (client, spoiled) => {
      await client.query('BEGIN');
      try {
        const result = await work(statementsOn(client));
        await client.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK').catch(spoiled);
        throw error;
      }
    });
  }

  /**
   * One connection for several statements.
   * @param work calls `spoiled` when nobody must get this connection after it
   */
  private async connected<R>(
    work: (client: PoolClient, spoiled: (error: Error) => void) => Promise<R>,
  ): Promise<R> {
    return again(async () => {
      const client = await this.pool.connect();
      let broken: Error | undefined;
      // The statement under way fails too; unheard, the event would end the process.
      const onError = (error: Error) => void (broken = error);
      client.on('error', onError);
      try {
        return await work(client, onError);
      } finally {
        client.off('error', onError);
        client.release(broken);
      }
    });
  }
}

function statementsOn(client: PoolClient): Statements {
  return {
    query: async <T extends QueryResultRow>(text: string, values: unknown[] = []) =>
      (await client.query<T>(text, values)).rows,
    one: async <T extends QueryResultRow>(text: string, values: unknown[] = []) =>
      (await client.query<T>(text, values)).rows[0],
  };
}

async function run<T extends QueryResultRow>(
  client: PoolClient,
  statement: Prepared,
  told: Told<T> = {},
): Promise<T[]> {
  const { rows } = await client.query<T>(statement);
  told.committed?.(rows);
  return rows;
}

async function kept<T>(rows: Promise<T[]>, flushed: Promise<unknown>, told: Told<T>): Promise<T[]> {
  const [written] = await Promise.all([rows, flushed]);
  told.kept?.(written);
  return written;
}

/** What is sent meanwhile leaves as one packet, and wakes Postgres once. */
function together<R>(client: PoolClient, send: () => R): R {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection;
  stream.cork();
  try {
    return send();
  } finally {
    stream.uncork();
  }
}

async function again<R>(work: () => Promise<R>): Promise<R> {
  for (let round = 1; ; round++) {
    try {
      return await work();
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (round === ROUNDS || (code !== DEADLOCK && code !== SERIALIZATION_FAILURE)) throw error;
    }
  }
}
