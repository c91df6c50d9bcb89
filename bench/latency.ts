import { quantile } from './figures.js';
import { times, type Part } from './part.js';

const JOBS = 200;

/** One client that submits and waits, again and again, on an idle service. */
export const latency: Part = {
  async measure(house, scale) {
    const gateway = await house.startGateway();
    await house.startWorker(gateway, 4);
    const once = async () => {
      const began = performance.now();
      const job = await gateway.client.submit({ command: ['/bin/true'] }, { prefer: 'wait=10' });
      if (job.state !== 'succeeded') throw new Error(`a job is ${job.state} after its wait`);
      return performance.now() - began;
    };
    for (let n = 0; n < 20; n++) await once();
    const took: number[] = [];
    for (let n = 0; n < times(JOBS, scale); n++) took.push(await once());
    gateway.client.close();
    await house.clear();
    return [
      {
        name: 'submit to result, idle, median',
        unit: 'ms',
        value: quantile(took, 0.5),
        bound: { atMost: 10 },
      },
      {
        name: 'submit to result, idle, 99th percentile',
        unit: 'ms',
        value: quantile(took, 0.99),
        bound: { atMost: 30 },
      },
    ];
  },
};
