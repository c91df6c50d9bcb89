import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Logger } from '@nestjs/common';
import { AdminKey } from '#gateway/auth/admin-key.js';
import { formatApiKey, makeApiKey } from '#gateway/auth/api-key.js';
import { Keys } from '#gateway/auth/keys.js';
import { createDataSource } from '#gateway/database/data-source.js';
import { Database } from '#gateway/database/database.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import type { DataSource } from 'typeorm';

Logger.overrideLogger(false);

let folder: string;
let file: string;
let testDatabase: TestDatabase;
let dataSource: DataSource;
let database: Database;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'labhand-keys-'));
  file = path.join(folder, 'made', 'admin-key');
  testDatabase = await freshDatabase();
  dataSource = await createDataSource(testDatabase.url).initialize();
  database = new Database(dataSource);
});

afterEach(async () => {
  await dataSource.destroy();
  await testDatabase.drop();
  await rm(folder, { recursive: true });
});

/** Each call is another gateway, with a memory of its own. */
const start = (options: Parameters<AdminKey['ensure']>[0]) => new AdminKey(database).ensure(options);
const opens = async (key: string) => (await new Keys(database).verify(key))?.role;
const content = async () => (await readFile(file, 'utf8')).trim();

test('the first start makes a key that only its user can read, and it opens everything', async () => {
  await start({ file });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await opens(await content())).toBe('admin');
});

test('a later start keeps it', async () => {
  await start({ file });
  const first = await content();
  await start({ file });
  expect(await content()).toBe(first);
  expect(await opens(first)).toBe('admin');
});

test('gateways that start together make one key', async () => {
  await Promise.all([start({ file }), start({ file }), start({ file: path.join(folder, 'other') })]);
  const rows = await database.query('SELECT id FROM api_keys');
  expect(rows).toHaveLength(1);
});

test('a key that is given is the admin key on every gateway, in place of the one before', async () => {
  await start({ file });
  const before = await content();
  const given = formatApiKey(makeApiKey());
  await Promise.all([start({ key: given }), start({ key: given })]);
  expect(await opens(given)).toBe('admin');
  expect(await opens(before)).toBeUndefined();
});

test('keys that admins made stay when the admin key is replaced', async () => {
  const made = await new Keys(database).make('alice', 'admin');
  await start({ key: formatApiKey(makeApiKey()) });
  expect(await opens(made)).toBe('admin');
});

test('the key of an existing file is used, also with a new database', async () => {
  const key = formatApiKey(makeApiKey());
  file = path.join(folder, 'secret');
  await writeFile(file, `${key}\n`);
  await start({ file });
  expect(await opens(key)).toBe('admin');
});

test('a key that was replaced does not come back', async () => {
  const [first, second] = [makeApiKey(), makeApiKey()].map(formatApiKey) as [string, string];
  await start({ key: first });
  await start({ key: second });
  await expect(start({ key: first })).rejects.toThrow(/was revoked or replaced; give a new one/);
  file = path.join(folder, 'stale');
  await writeFile(file, first);
  await start({ file });
  expect([await opens(first), await opens(second), await content()]).toEqual([undefined, 'admin', first]);
});

test('when no admin key is left, a start makes one in place of the stale one in the file', async () => {
  await start({ file });
  const first = await content();
  await new Keys(database).revoke(first.split('_')[1]!);
  await start({ file });
  expect(await content()).not.toBe(first);
  expect(await opens(await content())).toBe('admin');
});

test('what is no key is refused, and not repeated', async () => {
  const error = await start({ key: 'hunter2' }).catch((caught: Error) => caught);
  expect((error as Error).message).toMatch(/LABHAND_ADMIN_KEY.*expected lh_/);
  expect((error as Error).message).not.toContain('hunter2');
});

test('a key that cannot be written does not count', async () => {
  // A name that the part file beside it makes too long.
  file = path.join(folder, 'k'.repeat(250));
  await expect(start({ file })).rejects.toThrow(/cannot be written/);
  expect(await database.query('SELECT id FROM api_keys')).toEqual([]);
});

test('without a file and without a key the start fails and says what to set', async () => {
  await expect(start({})).rejects.toThrow(/LABHAND_ADMIN_KEY_FILE/);
});

describe('a verified key', () => {
  test('is not looked up again at once', async () => {
    const keys = new Keys(database);
    const key = await keys.make('alice', 'submitter');
    const query = jest.spyOn(database, 'one');
    const viewers = await Promise.all([keys.verify(key), keys.verify(key)]);
    viewers.push(await keys.verify(key));
    expect(viewers).toEqual(
      new Array(3).fill({ keyId: key.split('_')[1], owner: 'alice', role: 'submitter' }),
    );
    expect(query).toHaveBeenCalledTimes(1);
  });

  test('that was revoked elsewhere is refused after five seconds', async () => {
    const keys = new Keys(database);
    const key = await keys.make('alice', 'submitter');
    await keys.verify(key);
    await new Keys(database).revoke(key.split('_')[1]!);
    const now = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 5001);
    expect(await keys.verify(key)).toBeUndefined();
    now.mockRestore();
  });

  test('opens again as soon as the database answers again', async () => {
    const keys = new Keys(database);
    const key = await keys.make('alice', 'submitter');
    const away = jest.spyOn(database, 'one').mockRejectedValueOnce(new Error('Connection terminated'));
    await expect(keys.verify(key)).rejects.toThrow('Connection terminated');
    expect((await keys.verify(key))?.owner).toBe('alice');
    away.mockRestore();
  });
});
