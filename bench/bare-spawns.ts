import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { House } from './house.js';

export const SPAWN = "Node's bare spawn of /bin/true, 4 at once";

/** Processes a second that Node starts with nothing around it. */
export async function bareSpawns({ options }: House, count: number): Promise<number> {
  const script = path.join(options.top, 'dist/bench/bare-spawn.js');
  const { stdout } = await promisify(execFile)(process.execPath, [script, String(count)]);
  return Number(stdout);
}
