import { Client } from 'pg';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

describe('a fresh database', () => {
  let one: TestDatabase;
  let other: TestDatabase;

  beforeAll(async () => {
    [one, other] = await Promise.all([freshDatabase(), freshDatabase()]);
  });
  afterAll(() => Promise.all([one.drop(), other.drop()]));

  it('has the schema and shares no rows with another', async () => {
    await on(one.url, `INSERT INTO secrets (name, value) VALUES ('only', 'here')`);
    expect(await on(one.url, 'SELECT value FROM secrets')).toContainEqual({ value: 'here' });
    expect(await on(other.url, 'SELECT value FROM secrets')).not.toContainEqual({ value: 'here' });
  });

  it('is gone once dropped, whoever is still connected', async () => {
    const database = await freshDatabase();
    const client = new Client({ connectionString: database.url });
    const cut = new Promise<Error>((resolve) => client.on('error', resolve));
    await client.connect();
    await database.drop();
    await cut;
    await expect(on(database.url, 'SELECT 1')).rejects.toThrow('does not exist');
  });
});

async function on(url: string, statement: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}
