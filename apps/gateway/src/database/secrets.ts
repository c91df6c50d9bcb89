import { Injectable } from '@nestjs/common';
import { Database } from './database.js';

/** Secrets that all gateways of one database share; each is made by whoever needs it first. */
@Injectable()
export class Secrets {
  private readonly known = new Map<string, string>();

  constructor(private readonly database: Database) {}

  /** A secret that never changes; `make` is asked for its value only when there is none yet. */
  async get(name: string, make: () => string): Promise<string> {
    const value = this.known.get(name) ?? (await this.getFresh(name, make));
    this.known.set(name, value);
    return value;
  }

  /** A secret that may have been replaced since it was last asked for. */
  async getFresh(name: string, make: () => string): Promise<string> {
    return (await this.read(name)) ?? (await this.insert(name, make()));
  }

  /**
   * Makes a new value from the old one and returns it.
   * @throws {Error} there is no secret of that name
   */
  async replace(name: string, change: (old: string) => string): Promise<string> {
    return this.database.transaction(async (statements) => {
      const row = await statements.one<{ value: string }>(
        'SELECT value FROM secrets WHERE name = $1 FOR UPDATE',
        [name],
      );
      if (!row) throw new Error(`there is no secret ${name} to replace`);
      const value = change(row.value);
      await statements.query('UPDATE secrets SET value = $2, created_at = now() WHERE name = $1', [
        name,
        value,
      ]);
      return value;
    });
  }

  private async insert(name: string, value: string): Promise<string> {
    await this.database.query('INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
      name,
      value,
    ]);
    return (await this.read(name))!;
  }

  private async read(name: string): Promise<string | undefined> {
    const row = await this.database.one<{ value: string }>('SELECT value FROM secrets WHERE name = $1', [
      name,
    ]);
    return row?.value;
  }
}
