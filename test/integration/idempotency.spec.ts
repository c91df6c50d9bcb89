import type { DataSource } from 'typeorm';
import type { JobView } from '#gateway/jobs/job-view.js';
import { createDataSource } from '#gateway/database/data-source.js';
import { Database } from '#gateway/database/database.js';
import { Idempotency, type HeldKey } from '#gateway/jobs/idempotency.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

describe('an Idempotency-Key that was lost while the database was away', () => {
  let test: TestDatabase;
  let dataSource: DataSource;
  let database: Database;
  let idempotency: Idempotency;

  beforeAll(async () => {
    test = await freshDatabase();
    dataSource = await createDataSource(test.url).initialize();
    database = new Database(dataSource);
    idempotency = new Idempotency(database);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await test.drop();
  });

  const take = async (key: string): Promise<HeldKey> => {
    const begun = await idempotency.begin('owner', key);
    if (!('held' in begun)) throw new Error('the key was completed before');
    return begun.held;
  };
  /** As if its gateway had not been able to renew it. */
  const letTimePass = () =>
    database.query(`UPDATE idempotency_keys SET locked_until = now() - interval '1 s'`);
  const complete = (held: HeldKey, id: string) =>
    database.transaction((statements) => held.complete(statements, `hash of ${id}`, id, { id } as JobView));
  const jobs = ['00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002'] as const;

  it('gets no second job when the other request was faster', async () => {
    const slow = await take('taken');
    await letTimePass();
    const fast = await take('taken');
    await complete(fast, jobs[0]);
    await expect(complete(slow, jobs[1])).rejects.toMatchObject({ code: 'idempotency_in_progress' });
    await slow.letGo();
    await fast.letGo();
    const begun = await idempotency.begin('owner', 'taken');
    expect('replay' in begun && begun.replay.reply(`hash of ${jobs[0]}`)).toEqual({ id: jobs[0] });
  });

  it('gets no job that no key leads to when the other request let go of it', async () => {
    const slow = await take('gone');
    await letTimePass();
    await (await take('gone')).letGo();
    await expect(complete(slow, jobs[1])).rejects.toMatchObject({ code: 'idempotency_in_progress' });
    await slow.letGo();
  });
});
