import { Injectable } from '@nestjs/common';
import { Database } from './database.js';

/** Secrets that all gateways of one database share; each is made by whoever needs it first. */
@Injectable()
export class Secrets {
  private readonly known = new Map<string, string>();

  constructor(private readonly database: Database) {}

  /** The secret of that name; `make` is asked for a value only when there is none yet. */
  async get(name: string, make: () => string): Promise<string> {
    const known = this.known.get(name) ?? (await this.read(name)) ?? (await this.insert(name, make()));
    this.known.set(name, known);
    return known;
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
