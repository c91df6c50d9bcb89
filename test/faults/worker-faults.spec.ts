import { rmSync } from 'node:fs';
import { frozen, longerThanALease, restarted, starved, testFaults } from '../support/fault-matrix.js';
import { childrenOf, descendants, jobProcesses, limitFiles } from '../support/processes.js';
import { eventually } from '../support/signals.js';
import { MOMENTS } from '../support/stage.js';
import type { Town } from '../support/town.js';
import { allOf } from '../support/wires.js';
import { LAUNCHER_FAULTS, WORKER_FAULTS } from './fault-rows.js';

jest.setTimeout(120_000);

/** Less than the files of the jobs, more than a worker's log. */
const FULL = 300_000;

const pids = ({ workers }: Town) => workers.map(({ pid }) => pid);
/** One that was killed is replaced for the next job, not before. */
const launchers = (town: Town) => pids(town).flatMap((pid) => descendants(pid).slice(0, 1));
/** What a dead program had sent and nobody got is lost with it. */
const lostOnTheWay = ({ wires }: Town) => allOf(wires).forEach((wire) => wire.cut());

testFaults([...WORKER_FAULTS, ...LAUNCHER_FAULTS], {
  'worker is killed and comes back': (town) => restarted(town.workers, () => lostOnTheWay(town)),
  'worker is frozen for longer than its lease': (town) => frozen(pids(town), longerThanALease),
  'worker gets little of a processor': (town, stage) =>
    starved((meanwhile) => frozen(pids(town), meanwhile), stage),
  'worker is cut off for longer than its lease': async ({ wires }) => {
    for (const wire of [...wires.workerBroker, ...wires.workerGateway]) wire.shut();
    await longerThanALease();
  },
  'worker is killed and comes back empty': (town) =>
    restarted(town.workers, async () => {
      lostOnTheWay(town);
      // As with a container that is replaced: what ran in it is gone too.
      await eventually(() => jobProcesses(town.folder).length, 0);
      town.workers.forEach((_worker, index) => rmSync(town.stateOf(index), { recursive: true }));
    }),
  'worker has a full disk': async (town, stage) => {
    for (const pid of pids(town)) limitFiles(pid, FULL);
    stage.release();
    await stage.final('while it runs');
    const wire = town.wires.workerGateway[MOMENTS.indexOf('before its claim')]!;
    for (let tries = 0; tries < 2; tries++) await wire.trap({ direction: 'out', text: 'GET /' });
    for (const pid of pids(town)) limitFiles(pid, 'unlimited');
  },

  'launcher is killed': async (town) => {
    for (const pid of launchers(town)) process.kill(pid, 'SIGKILL');
    await eventually(() => jobProcesses(town.folder).length, 0);
  },
  'launcher is frozen for longer than a lease': async (town, stage) =>
    frozen(launchers(town), async () => {
      stage.release();
      await longerThanALease();
    }),
  'launcher and its commands have a full disk': async (town, stage) => {
    // Supervisors that wait for jobs too.
    const limited = launchers(town).flatMap((pid) => [pid, ...childrenOf(pid)]);
    for (const pid of limited) limitFiles(pid, 0);
    stage.release();
    await stage.final('at its claim');
    for (const pid of limited) limitFiles(pid, 'unlimited');
  },
});
