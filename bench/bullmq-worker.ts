import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { loadBullMq } from './bullmq-package.js';

/** A worker of BullMQ by itself: bullmq-worker.js FOLDER PORT QUEUE SLOTS. */

const run = promisify(execFile);
const [folder, port, queue, slots] = process.argv.slice(2) as [string, string, string, string];
const connection = { host: '127.0.0.1', port: Number(port) };
const { Worker } = loadBullMq(folder);
const worker = new Worker(queue, () => run('/bin/true'), { connection, concurrency: Number(slots) });
process.once('SIGTERM', () => void worker.close().finally(() => process.exit(0)));
