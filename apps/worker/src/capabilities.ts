import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ISOLATION_PROBES } from './isolation-probes.js';
import type { Launcher } from './launcher.js';
import { findFault, type Probe } from './probe.js';
import { COMMON_PROBES, processProbes } from './process-probes.js';
import { removeTree } from './remove-tree.js';

/** What a worker can do, as it registers it. */
export interface Capabilities {
  /** Words of what a probe has shown to be enforced here (see `Requirement`), separated by spaces. */
  readonly enforces: string;
  /** Jobs have users of their own (`jobUser`). */
  readonly ownUid: boolean;
  /** What the launcher says of itself; and of each word that is not enforced, why. */
  readonly [detail: string]: boolean | string;
}

/** Users of jobs are counted from here: Debian gives none of them to anybody, and even small id maps reach so far. */
const FIRST_JOB_USER = 58_000;

/** User and group of the jobs in a worker's nth workspace, counted from 1, where jobs have users of their own. */
export function jobUser(nth: number): number {
  return FIRST_JOB_USER + nth;
}

/**
 * Finds out by trying what can be enforced here, all at once.
 * @param folder for the probes' files; made and removed again
 */
export async function findCapabilities(launcher: Launcher, folder: string): Promise<Capabilities> {
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  try {
    return await probeAll(launcher, folder);
  } finally {
    await removeTree(folder);
  }
}

async function probeAll(launcher: Launcher, folder: string): Promise<Capabilities> {
  const uid = await findUser(launcher, join(folder, 'user'));
  const secret = [process.pid, ...(launcher.pid === undefined ? [] : [launcher.pid])];
  const probes =
    launcher.kind === 'node'
      ? COMMON_PROBES
      : [...COMMON_PROBES, ...processProbes(secret, uid), ...ISOLATION_PROBES];
  const faults = await Promise.all(
    probes.map((probe, nth) =>
      findFault({ ...probe, limits: { uid, ...probe.limits } }, launcher, join(folder, String(nth))),
    ),
  );
  const enforced = probes.filter((_, nth) => faults[nth] === undefined).map(({ word }) => word);
  const missing = probes.flatMap(({ word }, nth) => (faults[nth] === undefined ? [] : [[word, faults[nth]]]));
  return {
    ...launcher.capabilities,
    ...(Object.fromEntries(missing) as Record<string, string>),
    ownUid: uid !== undefined,
    enforces: enforced.join(' '),
  };
}

/** A user of its own is for root to give, and not in every container. */
async function findUser(launcher: Launcher, folder: string): Promise<number | undefined> {
  const uid = jobUser(0);
  const probe: Probe = {
    word: 'isolation:process',
    limits: { uid },
    script: `[ "$(id -u) $(id -g)" = "${uid} ${uid}" ] && : > file && echo own`,
    shows: (_result, output) => output === 'own\n',
  };
  if (launcher.kind === 'node' || process.geteuid?.() !== 0) return undefined;
  return (await findFault(probe, launcher, folder)) === undefined ? uid : undefined;
}
