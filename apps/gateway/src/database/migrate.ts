import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';

/** Any number will do as long as all gateways use the same. */
const MIGRATION_LOCK = 0x1ab4a2d;

/** Brings the schema up to date; gateways that start together wait for each other. */
export async function migrate(dataSource: DataSource): Promise<void> {
  const runner = dataSource.createQueryRunner();
  try {
    await runner.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await dataSource.runMigrations({ transaction: 'all' });
  } finally {
    await runner.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined);
    await runner.release();
  }
}

/** Migrates the database behind `url` and lets go of it. */
export async function migrateUrl(url: string): Promise<void> {
  const dataSource = await createDataSource(url).initialize();
  try {
    await migrate(dataSource);
  } finally {
    await dataSource.destroy();
  }
}
