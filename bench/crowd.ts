import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import type { Figure } from './figures.js';
import type { House } from './house.js';
import { proportionalMiB, residentMiB, treeOf } from './memory.js';
import { timed, times, type Scale } from './part.js';
import { CONNECTIONS } from './runs.js';

const JOBS = 200;
const SETTLE_MS = 10_000;
const LOOK_EVERY_MS = 25;
/** 60 MB. */
const AT_MOST_MIB = 57;

/** What many jobs at once cost beside their own commands, which sleep. */
export async function crowd(house: House, scale: Scale): Promise<Figure[]> {
  const jobs = times(JOBS, scale);
  const gateway = await house.startGateway();
  const worker = await house.startWorker(gateway, jobs);
  return house.withPostgres(gateway.databaseUrl, async (database) => {
    await pause(SETTLE_MS);
    const idle = ownMiB(worker.pid);
    await timed(jobs, CONNECTIONS, () => gateway.client.submit({ command: ['sleep', '3600'] }));
    await untilRun(database, worker.pid, jobs);
    await pause(SETTLE_MS);
    const busy = ownMiB(worker.pid);
    // The jobs end with it, at once.
    await worker.kill();
    gateway.client.close();
    await house.clear();
    return [
      { name: `worker and launcher with ${jobs} slots, idle`, unit: 'MiB', value: idle },
      {
        name: `${jobs} sleeping jobs at once, above idle`,
        unit: 'MiB',
        value: busy - idle,
        bound: { atMost: AT_MOST_MIB },
      },
    ];
  });
}

/**
 * Of the worker, the launcher and the launcher's process for each job, but not the jobs' commands. The worker's pages
 * count whole, since how many others share Node's changes with what else runs; of the launcher's processes, which have
 * nearly all of theirs together, only a share of each page.
 */
function ownMiB(worker: number): number {
  const launcher = treeOf(worker).filter((pid) => pid !== worker && !isCommand(pid));
  return residentMiB(worker) + launcher.reduce((sum, pid) => sum + proportionalMiB(pid), 0);
}

function isCommand(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'sleep';
  } catch {
    // It ended while we looked.
    return false;
  }
}

async function untilRun(database: pg.Client, worker: number, jobs: number): Promise<void> {
  for (;;) {
    const { rows } = await database.query<{ count: number }>(
      `SELECT count(*)::integer AS count FROM jobs WHERE state = 'running'`,
    );
    // Claimed is not started yet.
    if (rows[0]!.count === jobs && treeOf(worker).filter(isCommand).length === jobs) return;
    await pause(LOOK_EVERY_MS);
  }
}
