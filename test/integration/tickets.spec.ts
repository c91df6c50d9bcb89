import { ticketsQueue } from '#shared/amqp/topology.js';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { BROKERS } from '../support/test-broker.js';
import { startHouse, type House } from '../support/house.js';
import { eventually } from '../support/signals.js';

interface JobPage {
  readonly jobs: readonly unknown[];
}

/** More than are plenty, so that some jobs are left without a ticket. */
const MANY = 250;

describe.each(Object.keys(BROKERS))('tickets, over %s', (name) => {
  let house: House;
  let broker: Broker;

  beforeEach(async () => {
    // No reconciliation comes to help.
    house = await startHouse({
      broker: name,
      worker: false,
      gateway: { reconcile: 600, queues: { default: { policy: 'any', onOutputLimit: 'cut' } } },
    });
    broker = house.gateway.app.get<Broker>(BROKER);
  });
  afterEach(() => house.end());

  const depth = () => broker.depth(ticketsQueue('default'));
  const submit = async () =>
    expect((await house.client.post('/v1/jobs', { command: ['true'] })).status).toBe(202);
  const waiting = async () =>
    (await house.client.get<JobPage>('/v1/jobs?state=queued,running&limit=1')).body.jobs.length;

  /** Submits until a job gets no ticket, and then more. @returns how many there are */
  async function submitMany(): Promise<number> {
    let jobs = 0;
    for (let before = -1; (await depth()) !== before || jobs < MANY; jobs++) {
      before = await depth();
      await submit();
    }
    for (let more = 0; more < 50; more++) await submit();
    expect(await depth()).toBeGreaterThan(0);
    expect(await depth()).toBeLessThan(jobs);
    return jobs + 50;
  }

  it('are not published for every job where plenty lie, and all jobs are run', async () => {
    await submitMany();
    await house.startWorker({ queues: { default: 4 } });
    await eventually(waiting, 0, 50_000);
    await eventually(depth, 0);
  });

  it('that were spared are published once there are few', async () => {
    const jobs = await submitMany();
    let taken = 0;
    await broker.consume({ queue: ticketsQueue('default') }, { consumers: 1, prefetch: 100 }, async () => {
      taken++;
      return 'ack';
    });
    await eventually(() => taken, jobs, 50_000);
    await eventually(depth, 0);
  });
});
