import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import type { Figure } from './figures.js';
import type { House } from './house.js';
import { times, type Part, type Scale } from './part.js';

const JOBS = 100;
const LEASE_SECONDS = 20;
const AWAY_MS = 3000;
const LOOK_EVERY_MS = 10;

/** A worker is killed with a hundred running jobs: how soon they are queued again, or run elsewhere. */
export const recovery: Part = {
  async measure(house, scale) {
    return [...(await restarted(house, scale)), ...(await replaced(house, scale))];
  },
};

/** It comes back on its state directory, whose journal tells what died. */
async function restarted(house: House, scale: Scale): Promise<Figure[]> {
  const stateDir = house.newStateDir();
  const { gateway, worker, jobs } = await busy(house, scale, stateDir);
  return house.withPostgres(gateway.databaseUrl, async (database) => {
    await until(database, RUNNING, jobs);
    await worker.kill();
    await pause(AWAY_MS);
    const began = performance.now();
    const starting = house.startWorker(gateway, jobs, { stateDir });
    await until(database, `SELECT count(*)::integer AS count FROM attempts WHERE ending = 'lost'`, jobs);
    const seconds = (performance.now() - began) / 1000;
    await starting;
    gateway.client.close();
    await house.clear();
    const name = `killed with ${jobs} jobs, restarted: all queued again after its start`;
    return [{ name, unit: 's', value: seconds, bound: { atMost: 2 } }];
  });
}

/** It stays away: others take over when its leases run out. */
async function replaced(house: House, scale: Scale): Promise<Figure[]> {
  const { gateway, worker, jobs } = await busy(house, scale);
  return house.withPostgres(gateway.databaseUrl, async (database) => {
    await until(database, RUNNING, jobs);
    await house.startWorker(gateway, jobs);
    const began = performance.now();
    await worker.kill();
    await until(database, `${RUNNING} AND attempt = 2`, jobs);
    const seconds = (performance.now() - began) / 1000;
    gateway.client.close();
    await house.clear();
    const name = `killed with ${jobs} jobs, gone: all run elsewhere, beyond the lease`;
    return [{ name, unit: 's', value: seconds - LEASE_SECONDS, bound: { atMost: 5 } }];
  });
}

const RUNNING = `SELECT count(*)::integer AS count FROM jobs WHERE state = 'running'`;

async function busy(house: House, scale: Scale, stateDir?: string) {
  const jobs = times(JOBS, scale);
  const gateway = await house.startGateway({ LABHAND_LEASE: String(LEASE_SECONDS) });
  const worker = await house.startWorker(gateway, jobs, { stateDir });
  await Promise.all(Array.from({ length: jobs }, () => gateway.client.submit({ command: ['sleep', '600'] })));
  return { gateway, worker, jobs };
}

async function until(database: pg.Client, count: string, expected: number): Promise<void> {
  for (;;) {
    const { rows } = await database.query<{ count: number }>(count);
    if (rows[0]!.count === expected) return;
    await pause(LOOK_EVERY_MS);
  }
}
