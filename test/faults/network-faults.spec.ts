import { longerThanALease, testFaults, type Infliction } from '../support/fault-matrix.js';
import { MOMENTS } from '../support/stage.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { Wires } from '../support/wires.js';
import { NETWORK_FAULTS } from './fault-rows.js';

jest.setTimeout(120_000);

type Stretch = (wires: Wires) => readonly TcpProxy[];

const toBroker: Stretch = ({ workerBroker }) => workerBroker;
const toGateway: Stretch = ({ workerGateway }) => workerGateway;
const fromGateway = (name: 'gatewayBroker' | 'gatewayDatabase'): Stretch => {
  return (wires) => [wires[name]];
};

const breaks =
  (stretch: Stretch): Infliction =>
  async ({ wires }) =>
    stretch(wires).forEach((wire) => wire.cut());

const silent =
  (stretch: Stretch): Infliction =>
  async ({ wires }) => {
    for (const wire of stretch(wires)) wire.hold();
    await longerThanALease();
  };

/** The jobs are on their way through it, until the last of them is over. */
const onTheWay =
  (stretch: Stretch, slow: { delayMs?: number; bytesPerSecond?: number }): Infliction =>
  async ({ wires }, stage) => {
    stage.release();
    for (const wire of stretch(wires)) wire.slow(slow);
    await stage.final('at its upload');
    await stage.final('while it runs');
  };

testFaults(
  NETWORK_FAULTS,
  {
    'network between workers and broker breaks': breaks(toBroker),
    'network between workers and broker half-closes': async ({ wires }) =>
      wires.workerBroker.forEach((wire) => wire.halfClose('in')),
    'network between workers and broker is silent for longer than a lease': silent(toBroker),
    'network between workers and broker is slow': onTheWay(toBroker, { delayMs: 200 }),
    'network between workers and broker spoils bytes': async ({ wires }) => {
      wires.workerBroker[MOMENTS.indexOf('at its claim')]!.corrupt('in');
      wires.workerBroker[MOMENTS.indexOf('at its finish')]!.corrupt('out');
    },
    'network between workers and gateway breaks': breaks(toGateway),
    'network between workers and gateway half-closes': async ({ wires }) =>
      wires.workerGateway.forEach((wire) => wire.halfClose('out')),
    'network between workers and gateway is silent for longer than a lease': silent(toGateway),
    'network between workers and gateway is slow': onTheWay(toGateway, { bytesPerSecond: 300_000 }),
    'network between workers and gateway spoils bytes': async ({ wires }) =>
      // The head has passed: what comes is content.
      wires.workerGateway[MOMENTS.indexOf('at its upload')]!.corrupt('out'),
    'network between gateway and broker breaks': breaks(fromGateway('gatewayBroker')),
    'network between gateway and broker is silent for longer than a lease': silent(
      fromGateway('gatewayBroker'),
    ),
    'network between gateway and database breaks': breaks(fromGateway('gatewayDatabase')),
    'network between gateway and database is silent for longer than a lease': silent(
      fromGateway('gatewayDatabase'),
    ),
    'network between gateway and database forgets its connections': async ({ wires }) =>
      wires.gatewayDatabase.forget(),
  },
  { database: '?statement_timeout=2500&query_timeout=3000' },
);
