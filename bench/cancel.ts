import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { quantile, type Figure } from './figures.js';
import type { RunningGateway } from './house.js';
import { times, type Part } from './part.js';

const JOBS = 60;
const GRACE_SECONDS = 1;
const PROMISED_MS = 300;

/** From the request to cancel a running job until it is final, its processes gone. */
export const cancel: Part = {
  async measure(house, scale) {
    const gateway = await house.startGateway();
    await house.startWorker(gateway, 4);
    const polite = await measured(gateway, 'exec sleep 600', 1, times(JOBS, scale));
    const deaf = await measured(gateway, `trap '' TERM; sleep 600; true`, 2, times(JOBS / 6, scale));
    gateway.client.close();
    await house.clear();
    const overGrace = deaf.map((ms) => ms - GRACE_SECONDS * 1000);
    return [
      figure('cancel of a running job, median', quantile(polite, 0.5), PROMISED_MS),
      figure('cancel of a running job, 95th percentile', quantile(polite, 0.95)),
      figure('cancel where TERM is ignored, beyond the grace time', quantile(overGrace, 0.5), PROMISED_MS),
    ];
  },
};

/** @param processes of a job, when its command has begun */
async function measured(
  { client }: RunningGateway,
  script: string,
  processes: number,
  count: number,
): Promise<number[]> {
  const took: number[] = [];
  for (let n = 0; n < count; n++) {
    const command = ['sh', '-c', script];
    const { id } = await client.submit({ command, limits: { killGrace: GRACE_SECONDS } });
    while (processesOf(id).length < processes) await pause(5);
    const ended = client.read(`/v1/jobs/${id}?wait=30`);
    const began = performance.now();
    await client.ask(id, 'cancel');
    const job = await ended;
    took.push(performance.now() - began);
    if (job.state !== 'canceled') throw new Error(`a canceled job is ${job.state}`);
    if (processesOf(id).length > 0) throw new Error('a canceled job still runs');
  }
  return took;
}

function processesOf(jobId: string): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(jobId));
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return '';
  }
}

function figure(name: string, value: number, atMost?: number): Figure {
  return { name, unit: 'ms', value, bound: atMost === undefined ? undefined : { atMost } };
}
