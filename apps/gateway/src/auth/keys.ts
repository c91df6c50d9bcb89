import { timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { formatApiKey, hashSecret, makeApiKey, parseApiKey, type ApiKey } from './api-key.js';
import type { Role, Viewer } from './viewer.js';

/** How long a revoked key may still open doors, in exchange for no query per request. */
const TRUST_MS = 5000;
const MOST_REMEMBERED = 10_000;

interface Remembered {
  readonly viewer: Promise<Viewer | undefined>;
  readonly until: number;
}

interface Row {
  readonly secret_hash: Buffer;
  readonly owner: string;
  readonly role: Role;
}

/** Compared with when there is no row, so that an unknown id takes as long as a wrong secret. */
const NO_SECRET = Buffer.alloc(32);

/** The API keys: who they belong to and what they may do. */
@Injectable()
export class Keys {
  private readonly remembered = new Map<string, Remembered>();

  constructor(private readonly database: Database) {}

  /**
   * Who has this key; undefined when it has not the form of one, is unknown, wrong or revoked. A key that was revoked
   * elsewhere is refused after 5 s at the latest.
   */
  async verify(text: string): Promise<Viewer | undefined> {
    const key = parseApiKey(text);
    if (!key) return undefined;
    const hash = hashSecret(key.secret);
    const name = `${key.id} ${hash.toString('base64')}`;
    const remembered = this.remembered.get(name);
    if (remembered && remembered.until > Date.now()) return remembered.viewer;
    return this.remember(name, this.lookUp(key.id, hash));
  }

  /** Makes a key for an owner and returns it; it cannot be read again. */
  async make(owner: string, role: Role): Promise<string> {
    const key = makeApiKey();
    await this.database.query('INSERT INTO api_keys (id, secret_hash, owner, role) VALUES ($1, $2, $3, $4)', [
      key.id,
      hashSecret(key.secret),
      owner,
      role,
    ]);
    return formatApiKey(key);
  }

  /** False when there is no such key, or it was revoked before. */
  async revoke(id: ApiKey['id']): Promise<boolean> {
    const revoked = await this.database.query(
      'UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id',
      [id],
    );
    this.remembered.clear();
    return revoked.length > 0;
  }

  private async lookUp(id: string, hash: Buffer): Promise<Viewer | undefined> {
    const row = await this.database.one<Row>(
      'SELECT secret_hash, owner, role FROM api_keys WHERE id = $1 AND revoked_at IS NULL',
      [id],
    );
    const right = timingSafeEqual(row?.secret_hash ?? NO_SECRET, hash);
    return row && right ? { keyId: id, owner: row.owner, role: row.role } : undefined;
  }

  /** The promise is kept, so that requests that come together ask once; what failed is forgotten. */
  private async remember(name: string, viewer: Promise<Viewer | undefined>): Promise<Viewer | undefined> {
    if (this.remembered.size >= MOST_REMEMBERED) this.remembered.clear();
    this.remembered.set(name, { viewer, until: Date.now() + TRUST_MS });
    let found: Viewer | undefined;
    try {
      found = await viewer;
    } finally {
      if (!found && this.remembered.get(name)?.viewer === viewer) this.remembered.delete(name);
    }
    return found;
  }
}
