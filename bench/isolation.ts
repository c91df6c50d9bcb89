import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { startLauncher } from '#worker/launcher-client.js';
import { launcherPaths } from '#worker/launcher-paths.js';
import type { Launcher, LaunchOrder } from '#worker/launcher.js';
import { median, type Figure } from './figures.js';
import { times, type Part } from './part.js';

interface Level {
  readonly name: string;
  readonly limits: Partial<LaunchOrder>;
  /** Milliseconds that it may add. */
  readonly atMost?: number;
}

const LEVELS: readonly Level[] = [
  { name: 'process', limits: { isolation: 'process' }, atMost: 1 },
  { name: 'namespaces', limits: { isolation: 'namespaces' }, atMost: 4 },
  { name: 'namespaces, network off', limits: { isolation: 'namespaces', network: false }, atMost: 4 },
  { name: 'cgroup', limits: { isolation: 'cgroup' } },
];

/** What each level of isolation adds to the time from an order to the first instruction of a job. */
export const isolation: Part = {
  async measure(house, scale) {
    const folder = mkdtempSync(path.join(house.folder, 'isolation-'));
    const launcher = await startLauncher({
      ...launcherPaths(path.join(house.options.top, 'dist/apps/worker/src')),
      logger: { warn: (message) => process.stderr.write(`${message}\n`) },
    });
    try {
      return await starts(launcher, folder, times(300, scale));
    } finally {
      await launcher.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** In turn, so that a slow moment of the machine is everybody's. What this host does not give is left out. */
async function starts(launcher: Launcher, folder: string, count: number): Promise<Figure[]> {
  const given: Level[] = [];
  for (const level of LEVELS) {
    if ((await startTime(launcher, folder, level.limits)) !== undefined) given.push(level);
  }
  const plain: number[] = [];
  const took = given.map((): number[] => []);
  for (let nth = 0; nth < count; nth++) {
    plain.push((await startTime(launcher, folder, {}))!);
    for (const [level, { limits }] of given.entries()) {
      took[level]!.push((await startTime(launcher, folder, limits))!);
    }
  }
  const none = median(plain);
  return [
    { name: 'start of a job by the launcher alone', unit: 'ms', value: none },
    ...given.map(({ name, atMost }, level) => ({
      name: `isolation ${name} adds to the start of a job`,
      unit: 'ms',
      value: median(took[level]!) - none,
      bound: atMost === undefined ? undefined : { atMost },
    })),
  ];
}

let ran = 0;

/** Milliseconds until the job runs; undefined where this host does not give what is asked for. */
async function startTime(
  launcher: Launcher,
  folder: string,
  limits: Partial<LaunchOrder>,
): Promise<number | undefined> {
  // As in a worker all that changes lies in one folder, which is hidden from jobs.
  const state = path.join(folder, 'state');
  const workspace = path.join(state, String(++ran));
  mkdirSync(workspace, { recursive: true });
  const stdout = path.join(state, `${ran}.out`);
  const asked = performance.timeOrigin + performance.now();
  const { cause } = await launcher.start({
    id: String(ran),
    command: ['/bin/date', '+%s%N'],
    env: {},
    directory: workspace,
    stdout,
    stderr: '/dev/null',
    wallTime: 60,
    killGrace: 1,
    ...(limits.isolation && { writable: [workspace], hidden: [state] }),
    ...limits,
  }).ended;
  if (cause === 'spawn_error') return undefined;
  return Number(readFileSync(stdout, 'utf8')) / 1e6 - asked;
}
