import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { withHint } from './apparmor.js';
import { ISOLATION_PROBES } from './isolation-probes.js';
import type { Launcher } from './launcher.js';
import { findFault, type Probe } from './probe.js';
import { COMMON_PROBES, processProbes } from './process-probes.js';
import { removeTree } from './remove-tree.js';

/** What a worker can do, as it registers it. */
export interface Capabilities {
  /** Words of what a probe has shown to be enforced here (see `Requirement`), separated by spaces. */
  readonly enforces: string;
  /** Jobs have users of their own; or why not. */
  readonly ownUid: true | string;
  /** What the launcher says of itself; and of each word that is not enforced, why. */
  readonly [detail: string]: boolean | string;
}

export interface Found {
  readonly capabilities: Capabilities;
  /** User of the first workspace's jobs where they have users of their own. */
  readonly firstUser: number | undefined;
}

/**
 * Finds out by trying what can be enforced here, all at once.
 * @param folder for the probes' files; made and removed again
 * @param workerId so that no two workers of a machine give their jobs the same users
 */
export async function findCapabilities(launcher: Launcher, folder: string, workerId: string): Promise<Found> {
  // A worker that was killed while it tried left what would be taken for this one's.
  await removeTree(folder);
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  try {
    const users = launcher.kind === 'node' ? NO_USERS : await findUsers(launcher, folder, workerId);
    const firstUser = typeof users === 'number' ? users : undefined;
    const ownUid = typeof users === 'number' ? true : users;
    return { capabilities: { ...(await probeAll(launcher, folder, firstUser)), ownUid }, firstUser };
  } finally {
    await removeTree(folder);
  }
}

async function probeAll(launcher: Launcher, folder: string, uid: number | undefined) {
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
  const missing = probes.flatMap(({ word }, nth) => {
    const fault = faults[nth];
    return fault === undefined ? [] : [[word, withHint(word, fault)]];
  });
  return {
    ...launcher.capabilities,
    ...(launcher.kind === 'node' ? {} : wayOfLimiting(launcher, enforced)),
    ...(Object.fromEntries(missing) as Record<string, string>),
    enforces: enforced.join(' '),
  };
}

/** Whose memory and processes are limited, and by what; groups that can limit the processors can limit these. */
function wayOfLimiting(launcher: Launcher, enforced: readonly string[]) {
  const tree = enforced.includes('limit:cpu') && `tree (cgroup ${launcher.capabilities['cgroup']})`;
  return {
    ...(enforced.includes('limit:memory') && { memory: tree || 'each process (RLIMIT_DATA)' }),
    ...(enforced.includes('limit:processes') && { processes: tree || 'user of the job (RLIMIT_NPROC)' }),
  };
}

const NO_USERS = 'only root gives jobs users of their own';

/**
 * Numbers that systemd leaves to nobody, a thousand for each worker; and, for containers whose users end at 65,535,
 * numbers that Debian gives to nobody.
 */
function candidates(workerId: string): number[] {
  const block = createHash('sha256').update(workerId).digest().readUInt32LE() % 268_000;
  return [1_879_048_192 + block * 1000, 58_000];
}

/** A user of its own is for root to give, and not in every container. Resolves with the first, or why there is none. */
async function findUsers(launcher: Launcher, folder: string, workerId: string): Promise<number | string> {
  if (process.geteuid?.() !== 0) return NO_USERS;
  let fault = NO_USERS;
  for (const user of candidates(workerId)) {
    const found = await findFault(userProbe(user), launcher, join(folder, `user-${user}`));
    if (found === undefined) return user;
    fault = found;
  }
  return fault;
}

/** By the absolute path too: the way to the folder may be closed to others, as that to /root/anything is. */
function userProbe(uid: number): Probe {
  return {
    word: 'isolation:process',
    limits: { uid },
    script: `id -u; id -g; : > file; [ -e "$DIRECTORY/file" ] && echo reached`,
    shows: (_result, output) => output === `${uid}\n${uid}\nreached\n`,
  };
}
