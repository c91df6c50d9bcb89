import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Injectable, Logger } from '@nestjs/common';
import { Database, type Statements } from '../database/database.js';
import { formatApiKey, hashSecret, KEY_FORM, makeApiKey, parseApiKey, type ApiKey } from './api-key.js';

/** Any number will do as long as all gateways use the same. */
const ADMIN_KEY_LOCK = 0x1ab4ad1;
/** Whose the key of the first start is; keys of this owner are made here and nowhere else. */
export const ADMIN_OWNER = 'admin';

export interface AdminKeyOptions {
  /** LABHAND_ADMIN_KEY: the key to use, given by who runs the gateway. */
  readonly key?: string;
  /** LABHAND_ADMIN_KEY_FILE: read when it is there, written when a key is made. */
  readonly file?: string;
}

/** Makes sure at start that somebody can get in. The key itself never reaches the log. */
@Injectable()
export class AdminKey {
  private readonly logger = new Logger('AdminKey');

  constructor(private readonly database: Database) {}

  /**
   * A key that is given, in the variable or in an existing file, becomes the admin key in place of the one before.
   * Otherwise the first start makes one and writes it to `file`, readable by this user alone. Gateways that start
   * together make one key.
   * @throws {Error} a given key has not the form of one or was revoked; the file cannot be read or written
   */
  async ensure({ key, file }: AdminKeyOptions): Promise<void> {
    await this.database.transaction(async (statements) => {
      await statements.query('SELECT pg_advisory_xact_lock($1)', [ADMIN_KEY_LOCK]);
      if (key !== undefined) return this.useGiven(statements, formOf(key, 'LABHAND_ADMIN_KEY'));
      // Read under the lock: a gateway that shares the folder may be writing it.
      const kept = file === undefined ? undefined : await readKey(file);
      if (kept !== undefined && (await this.useKept(statements, formOf(kept, file!), file!))) return;
      return this.make(statements, file);
    });
  }

  private async useGiven(statements: Statements, key: ApiKey): Promise<void> {
    if (await this.install(statements, key)) return;
    throw new Error(`The key lh_${key.id}_… in LABHAND_ADMIN_KEY was revoked or replaced; give a new one.`);
  }

  private async useKept(statements: Statements, key: ApiKey, file: string): Promise<boolean> {
    const installed = await this.install(statements, key);
    if (!installed) this.logger.warn(`the key lh_${key.id}_… in ${file} was revoked or replaced`);
    return installed;
  }

  /** False when this key was the admin key once and must not come back. */
  private async install(statements: Statements, key: ApiKey): Promise<boolean> {
    const row = await statements.one<{ revoked: boolean; same: boolean }>(
      'SELECT revoked_at IS NOT NULL AS revoked, secret_hash = $2 AS same FROM api_keys WHERE id = $1',
      [key.id, hashSecret(key.secret)],
    );
    if (row && !row.same) {
      throw new Error(`The admin key that is given has the id of another key, ${key.id}; give another one.`);
    }
    if (row) return !row.revoked;
    await this.insert(statements, key);
    await statements.query(
      'UPDATE api_keys SET revoked_at = now() WHERE owner = $1 AND id <> $2 AND revoked_at IS NULL',
      [ADMIN_OWNER, key.id],
    );
    this.logger.log(`the admin key is now lh_${key.id}_…`);
    return true;
  }

  private async make(statements: Statements, file: string | undefined): Promise<void> {
    const existing = await statements.one<{ id: string }>(
      "SELECT id FROM api_keys WHERE role = 'admin' AND revoked_at IS NULL LIMIT 1",
    );
    if (existing) {
      this.logger.log(
        `the admin key lh_${existing.id}_… was made before${file ? ` and is not in ${file}` : ''}; ` +
          'if it is lost, start once with a new one in LABHAND_ADMIN_KEY',
      );
      return;
    }
    if (file === undefined) {
      throw new Error(
        'There is no admin key yet and nowhere to put one: set LABHAND_ADMIN_KEY_FILE to a path, ' +
          `or LABHAND_ADMIN_KEY to a key (${KEY_FORM}).`,
      );
    }
    const key = makeApiKey();
    await this.insert(statements, key);
    // Before the commit: a key that nobody could read must not count.
    await writeKey(file, formatApiKey(key));
    this.logger.log(`made the admin key lh_${key.id}_… and wrote it to ${file}`);
  }

  private async insert(statements: Statements, key: ApiKey): Promise<void> {
    await statements.query(
      "INSERT INTO api_keys (id, secret_hash, owner, role) VALUES ($1, $2, $3, 'admin')",
      [key.id, hashSecret(key.secret), ADMIN_OWNER],
    );
  }
}

function formOf(text: string, where: string): ApiKey {
  const key = parseApiKey(text.trim());
  if (!key) throw new Error(`What ${where} holds is no API key: expected ${KEY_FORM}.`);
  return key;
}

async function readKey(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`The admin key file ${file} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function writeKey(file: string, key: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const part = `${file}.${process.pid}.part`;
    await writeFile(part, `${key}\n`, { mode: 0o600 });
    // The mode above does not change a file that a crash left behind.
    await chmod(part, 0o600);
    await rename(part, file);
  } catch (error) {
    throw new Error(`The admin key cannot be written to ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
