import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Figure } from './figures.js';
import { DISK } from './limits.js';
import { peakResidentMiB, treeOf } from './memory.js';
import type { Part } from './part.js';

const GIB = 2 ** 30;
const CHUNK = randomBytes(2 ** 20);
const PEAK = { atMost: 250 };

/** One file of a GiB all the way: to the gateway, to the worker, back as an output, and to the client. */
export const files: Part = {
  async measure(house, { quick }) {
    const size = quick ? GIB / 8 : GIB;
    const mib = size / 2 ** 20;
    const gateway = await house.startGateway();
    const worker = await house.startWorker(gateway, 1);

    const began = performance.now();
    const { id } = await gateway.client.upload(
      { command: ['mv', 'in.bin', 'out.bin'] },
      'in.bin',
      content(size),
      size,
    );
    const uploadSeconds = (performance.now() - began) / 1000;
    const uploadPeak = peakResidentMiB(gateway.program.pid);

    let job = await gateway.client.read(`/v1/jobs/${id}?wait=50`);
    while (!job.finishedAt) job = await gateway.client.read(`/v1/jobs/${id}?wait=50`);
    if (job.state !== 'succeeded') throw new Error(`the job with the file ${job.state}: ${job.message}`);
    const attempt = job.attempts![0]!;

    const asked = performance.now();
    const came = await gateway.client.download(`/v1/jobs/${id}/files/out.bin`);
    const downloadSeconds = (performance.now() - asked) / 1000;
    if (came !== size) throw new Error(`${came} of ${size} bytes came back`);

    const workerPeak = Math.max(...treeOf(worker.pid).map(peakResidentMiB));
    const gatewayPeak = peakResidentMiB(gateway.program.pid);
    gateway.client.close();
    await house.clear();
    const speed = (name: string, seconds: number): Figure => ({ name, unit: 'MiB/s', value: mib / seconds });
    const memory = (name: string, value: number): Figure => ({ name, unit: 'MiB', value, bound: PEAK });
    return [
      { ...speed('upload of 1 GiB, hashed and synced', uploadSeconds), bound: { atLeast: 0.3, of: DISK } },
      speed("worker's fetch of it", secondsBetween(job.startedAt!, attempt.startedAt)),
      speed("worker's packing and upload of it", secondsBetween(attempt.finishedAt!, job.finishedAt)),
      speed('download of it', downloadSeconds),
      memory('gateway at most, upload', uploadPeak),
      memory('gateway at most, all four', gatewayPeak),
      memory('worker at most', workerPeak),
    ];
  },
};

function content(size: number): Readable {
  let left = size;
  return new Readable({
    highWaterMark: 4 * CHUNK.length,
    read() {
      this.push(left > 0 ? CHUNK : null);
      left -= CHUNK.length;
    },
  });
}

function secondsBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}
