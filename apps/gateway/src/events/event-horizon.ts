import { Injectable } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import { Database } from '../database/database.js';
import { Batcher } from '../dispatch/batcher.js';

const TOP = `
  SELECT coalesce(max(id), 0) AS top, pg_current_xact_id() AS fence, pg_snapshot_xmin(pg_current_snapshot()) AS oldest
  FROM events`;
const OLDEST = 'SELECT pg_snapshot_xmin(pg_current_snapshot()) AS oldest';

const ASK_AGAIN_MS = 10;
/** No transaction of ours takes so long; one that an operator forgot must not hold up everybody's events. */
const PATIENCE_MS = 10_000;

/**
 * Up to which id all events are there. Ids are given before their transactions commit, so an event may appear after
 * one with a higher id; who reads on from the highest that it saw would miss it.
 */
@Injectable()
export class EventHorizon {
  /** Those who ask together are answered together, by a look that began after each of them asked. */
  private readonly looks = new Batcher<undefined, string>(async (asked) => {
    const top = await this.look();
    return asked.map(() => top);
  }, Infinity);

  constructor(private readonly database: Database) {}

  /** The highest id below which no event can appear any more. */
  now(): Promise<string> {
    return this.looks.add(undefined);
  }

  private async look(): Promise<string> {
    const began = performance.now();
    const [seen] = await this.database.query<{ top: string; fence: string; oldest: string }>(TOP);
    const { top, fence } = seen!;
    // Whoever was given a lower id had a transaction by then, and it is over once the oldest one began after ours.
    for (let { oldest } = seen!; BigInt(oldest) < BigInt(fence);) {
      if (performance.now() - began > PATIENCE_MS) break;
      await pause(ASK_AGAIN_MS);
      oldest = (await this.database.query<{ oldest: string }>(OLDEST))[0]!.oldest;
    }
    return top;
  }
}
