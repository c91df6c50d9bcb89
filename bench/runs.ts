import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import type { JobSpecInput } from '#shared/job/job-spec.js';
import type { BenchClient } from './client.js';
import { timed } from './part.js';

export const CONNECTIONS = 16;
const LOOK_EVERY_MS = 25;

/**
 * Submits a job that often over 16 connections; seconds from the first submission to the last final state.
 * @param database of the gateway, which has no other jobs to do
 * @throws {Error} one did not succeed
 */
export async function runJobs(
  client: BenchClient,
  database: pg.Client,
  count: number,
  job: JobSpecInput,
): Promise<number> {
  const before = await succeeded(database);
  const began = performance.now();
  await timed(count, CONNECTIONS, () => client.submit(job));
  await allEnded(database);
  const seconds = (performance.now() - began) / 1000;
  const ended = (await succeeded(database)) - before;
  if (ended !== count) throw new Error(`${ended} of ${count} jobs succeeded`);
  return seconds;
}

/** The lanes count what waits and what runs: one row says whether all is over, and reading it costs nearly nothing. */
async function allEnded(database: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await database.query<{ left: number }>({
      name: 'left',
      text: 'SELECT coalesce(sum(waiting + running), 0)::integer AS left FROM lanes',
    });
    if (rows[0]!.left === 0) return;
    await pause(LOOK_EVERY_MS);
  }
}

async function succeeded(database: pg.Client): Promise<number> {
  const { rows } = await database.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM jobs WHERE state = 'succeeded'`,
  );
  return rows[0]!.count;
}
