import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../test/support/debian-packages.js';

/** BullMQ, and the client of Redis with which it is tested. */
export const VERSIONS = { bullmq: '6.7.0', ioredis: '5.11.1' };

export interface Connection {
  readonly host: string;
  readonly port: number;
}

/** What the bench uses of it; it is never one of our own packages. */
export interface BullMq {
  readonly Queue: new (name: string, options: { connection: Connection }) => Queue;
  readonly QueueEvents: new (name: string, options: { connection: Connection }) => QueueEvents;
  readonly Worker: new (
    name: string,
    processor: () => Promise<unknown>,
    options: { connection: Connection; concurrency: number },
  ) => { close(): Promise<void> };
}

export interface Queue {
  add(
    name: string,
    data: unknown,
  ): Promise<{ waitUntilFinished(events: QueueEvents, timeoutMs: number): Promise<unknown> }>;
  getJobCounts(...states: string[]): Promise<Record<string, number>>;
  getWorkersCount(): Promise<number>;
  close(): Promise<void>;
}

export interface QueueEvents {
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

/**
 * The folder that holds it; made once, below the cache.
 * @throws {Error} npm cannot fetch it
 */
export async function installBullMq(): Promise<string> {
  const folder = path.join(cacheFolder('bullmq'), Object.values(VERSIONS).join('-'));
  if (existsSync(folder)) return folder;
  const work = `${folder}.new`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  await writeFile(path.join(work, 'package.json'), JSON.stringify({ private: true, dependencies: VERSIONS }));
  const options = ['--prefix', work, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await promisify(execFile)('npm', ['install', ...options], { cwd: work }).catch((error) => {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new Error(`npm cannot install it (${(stderr || message).trim()})`, { cause: error });
  });
  // The name appears when all of it is there.
  await rename(work, folder);
  return folder;
}

export function loadBullMq(folder: string): BullMq {
  return createRequire(path.join(folder, 'package.json'))('bullmq') as BullMq;
}
