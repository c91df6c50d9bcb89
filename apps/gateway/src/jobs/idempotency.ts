import { Injectable } from '@nestjs/common';
import { Database, type Statements } from '../database/database.js';
import { Problem } from '../http/problem.js';
import type { JobView } from './job-view.js';

/** A key that is in use is renewed this often, and free again when its gateway has been silent three times. */
const RENEW_MS = 3000;
const LOCK_SECONDS = 10;
const MAX_KEY_LENGTH = 255;

const LOCK = `
  INSERT INTO idempotency_keys (owner, key, locked_until) VALUES ($1, $2, now() + make_interval(secs => $3))
  ON CONFLICT (owner, key) DO UPDATE SET locked_until = excluded.locked_until
  WHERE idempotency_keys.job_id IS NULL AND idempotency_keys.locked_until < now()
  RETURNING key`;

const RENEW = `
  UPDATE idempotency_keys SET locked_until = now() + make_interval(secs => $3)
  WHERE owner = $1 AND key = $2 AND job_id IS NULL`;

const COMPLETE = `
  UPDATE idempotency_keys SET request_hash = $3, job_id = $4, reply = $5, locked_until = NULL
  WHERE owner = $1 AND key = $2 AND job_id IS NULL RETURNING key`;

interface Recorded {
  request_hash: string;
  job_id: string | null;
  reply: JobView;
}

/** A key that this request holds: to be completed in the submission's transaction, or let go. */
export interface HeldKey {
  /**
   * @throws {Problem} 409 when the database was away for so long that another request took the key, and completed it
   * or let it go: a key that is not this one's any more must not get a second job
   */
  complete(within: Statements, requestHash: string, jobId: string, reply: JobView): Promise<void>;
  /** After a failed submission; harmless after a completed one. */
  letGo(): Promise<void>;
}

/** What an earlier request with this key was answered. */
export interface Replay {
  /** @throws {Problem} 422 when `requestHash` is not the earlier request's */
  reply(requestHash: string): JobView;
}

/**
 * The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): a client that is not sure whether its
 * submission arrived sends it again and gets the first one's reply, not a second job.
 */
@Injectable()
export class Idempotency {
  constructor(private readonly database: Database) {}

  /** @throws {Problem} 409 while the first request with this key is still running */
  async begin(owner: string, key: string): Promise<{ held: HeldKey } | { replay: Replay }> {
    if (key.length > MAX_KEY_LENGTH || !/^[\x21-\x7e]+$/.test(key)) {
      const message = `expected 1 to ${MAX_KEY_LENGTH} visible ASCII characters, such as a UUID`;
      throw new Problem(422, 'invalid_request', `The Idempotency-Key is not valid: ${message}.`, {
        errors: [{ path: 'Idempotency-Key', message }],
      });
    }
    if (await this.database.one(LOCK, [owner, key, LOCK_SECONDS])) return { held: this.hold(owner, key) };
    const recorded = await this.database.one<Recorded>(
      'SELECT request_hash, job_id, reply FROM idempotency_keys WHERE owner = $1 AND key = $2',
      [owner, key],
    );
    if (recorded?.job_id) return { replay: replayOf(recorded) };
    throw inProgress();
  }

  /** Forgets keys older than a day: nobody repeats a submission that long after. */
  async forget(): Promise<void> {
    await this.database.query(`DELETE FROM idempotency_keys WHERE created_at < now() - interval '1 day'`);
  }

  private hold(owner: string, key: string): HeldKey {
    const renewal = setInterval(() => {
      this.database.query(RENEW, [owner, key, LOCK_SECONDS]).catch(() => undefined);
    }, RENEW_MS);
    return {
      complete: async (within, requestHash, jobId, reply) => {
        const values = [owner, key, requestHash, jobId, JSON.stringify(reply)];
        if (!(await within.one(COMPLETE, values))) throw inProgress();
      },
      letGo: async () => {
        clearInterval(renewal);
        await this.database.query(
          'DELETE FROM idempotency_keys WHERE owner = $1 AND key = $2 AND job_id IS NULL',
          [owner, key],
        );
      },
    };
  }
}

function inProgress(): Problem {
  return new Problem(
    409,
    'idempotency_in_progress',
    'Another request with this Idempotency-Key is still running; send it again in a moment.',
    { headers: { 'retry-after': '1' } },
  );
}

function replayOf(recorded: Recorded): Replay {
  return {
    reply: (requestHash) => {
      if (requestHash === recorded.request_hash) return recorded.reply;
      throw new Problem(
        422,
        'idempotency_mismatch',
        'This Idempotency-Key was used for another submission; use a new key for each one.',
        { errors: [{ path: 'Idempotency-Key', message: 'belongs to another submission' }] },
      );
    },
  };
}
