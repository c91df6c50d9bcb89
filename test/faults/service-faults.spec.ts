import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { frozen, longerThanALease, restarted, starved, testFaults } from '../support/fault-matrix.js';
import { MOMENTS, type Stage } from '../support/stage.js';
import type { Town } from '../support/town.js';
import { BLOB_FAULTS, BROKER_FAULTS } from './fault-rows.js';

jest.setTimeout(120_000);

const store = ({ store }: Town) => store!;
const brokerWires = ({ wires }: Town) => [...wires.workerBroker, wires.gatewayBroker];

async function brokerFrozen({ rabbitMq }: Town, meanwhile: () => Promise<void>): Promise<void> {
  await rabbitMq.freeze();
  await meanwhile();
  await rabbitMq.thaw();
}

/** The jobs are on their way, and an upload that failed has been tried again, twice. */
async function uploadsInVain({ wires }: Town, stage: Stage): Promise<void> {
  stage.release();
  const wire = wires.workerGateway[MOMENTS.indexOf('at its upload')]!;
  for (let tries = 0; tries < 2; tries++) await wire.trap({ direction: 'out', text: 'PUT /' });
}

testFaults(
  [...BLOB_FAULTS, ...BROKER_FAULTS],
  {
    'blob store is killed and comes back': (town, stage) =>
      restarted([store(town)], () => uploadsInVain(town, stage)),
    'blob store is frozen for longer than a lease': (town, stage) =>
      frozen([store(town).pid], async () => {
        stage.release();
        await longerThanALease();
      }),
    'blob store is slow': async ({ wires }, stage) => {
      stage.release();
      wires.gatewayBlobs!.slow({ delayMs: 50, bytesPerSecond: 300_000 });
      await stage.final('at its upload');
    },
    'blob store is out of reach for longer than a lease': async ({ wires }, stage) => {
      stage.release();
      wires.gatewayBlobs!.shut();
      await longerThanALease();
      wires.gatewayBlobs!.release();
    },
    'blob store comes back empty': (town) =>
      restarted([store(town)], () => rmSync(join(town.folder, 's3'), { recursive: true })),

    'broker is killed and comes back': (town) => town.restartRabbitMq(),
    'broker is frozen for longer than a lease': (town) => brokerFrozen(town, longerThanALease),
    'broker gets little of a processor': (town, stage) =>
      starved((meanwhile) => brokerFrozen(town, meanwhile), stage),
    'broker is out of reach for longer than a lease': async (town) => {
      for (const wire of brokerWires(town)) wire.shut();
      await longerThanALease();
    },
    'broker is killed and comes back empty': (town) => town.restartRabbitMq({ wiped: true }),
    'broker has a full disk for longer than a lease': async ({ rabbitMq }, stage) => {
      await rabbitMq.diskFull(true);
      stage.release();
      await longerThanALease();
      await rabbitMq.diskFull(false);
    },
  },
  { s3: true },
);
