import { timed, times, type Part } from './part.js';

const JOBS = 4000;

/** Submissions alone: nobody serves the queue, each job is held. */
export const submissions: Part = {
  async measure(house, scale) {
    const gateway = await house.startGateway();
    // A queue comes with the first worker that serves it, and stays.
    await (await house.startWorker(gateway, 1)).stop();
    const submit = () => gateway.client.submit({ command: ['/bin/true'], hold: true });
    await timed(times(400, scale), 16, submit);
    const jobs = times(JOBS, scale);
    const seconds = await timed(jobs, 16, submit);
    gateway.client.close();
    await house.clear();
    return [{ name: 'submissions, 16 connections', unit: 'jobs/s', value: jobs / seconds }];
  },
};
