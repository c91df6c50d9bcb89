import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { frozen, longerThanALease, restarted, starved, testFaults } from '../support/fault-matrix.js';
import { descendants, limitFiles } from '../support/processes.js';
import { MOMENTS, type Moment } from '../support/stage.js';
import type { Town } from '../support/town.js';
import { DATABASE_FAULTS, GATEWAY_FAULTS } from './fault-rows.js';

jest.setTimeout(120_000);

/** Less than an upload, more than a gateway's log. */
const FULL = 500_000;

const gateways = ({ gateways }: Town) => gateways.map(({ pid }) => pid);
const postgres = ({ postgresPid }: Town) => [postgresPid, ...descendants(postgresPid)];

testFaults([...GATEWAY_FAULTS, ...DATABASE_FAULTS], {
  'gateway is killed and comes back': (town) =>
    restarted(town.gateways, () => {
      // What it was taking in is swept after a day.
      for (const name of town.unfinishedBlobs()) rmSync(join(town.blobs, '.unfinished', name));
    }),
  'gateway is frozen for longer than a lease': (town) => frozen(gateways(town), longerThanALease),
  'gateway gets little of a processor': (town, stage) =>
    starved((meanwhile) => frozen(gateways(town), meanwhile), stage),
  'gateway is cut off from broker and database for longer than a lease': async ({ wires }) => {
    wires.gatewayBroker.shut();
    wires.gatewayDatabase.shut();
    await longerThanALease();
  },
  'gateway has a full disk for blobs': async (town, stage) => {
    for (const pid of gateways(town)) limitFiles(pid, FULL);
    stage.release();
    for (const moment of ['while it runs', 'at its upload'] as const) await uploadsTwice(town, moment);
    for (const pid of gateways(town)) limitFiles(pid, 'unlimited');
  },

  'database is killed and comes back': (town) => town.restartPostgres(),
  'database is frozen for longer than a lease': (town) => frozen(postgres(town), longerThanALease),
  'database gets little of a processor': (town, stage) =>
    starved((meanwhile) => frozen(postgres(town), meanwhile), stage),
  'database is out of reach for longer than a lease': async ({ wires }) => {
    wires.gatewayDatabase.shut();
    await longerThanALease();
  },
  'database has a full disk': async (town, stage) => {
    for (const pid of postgres(town)) limitFiles(pid, 0);
    stage.release();
    await longerThanALease();
    await town.restartPostgres();
  },
});

/** Once refused, and once more. */
async function uploadsTwice({ wires }: Town, moment: Moment): Promise<void> {
  const wire = wires.workerGateway[MOMENTS.indexOf(moment)]!;
  for (let tries = 0; tries < 2; tries++) await wire.trap({ direction: 'out', text: 'PUT /' });
}
