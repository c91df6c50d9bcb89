import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { connect } from 'amqplib';
import pg from 'pg';
import type { Figure } from './figures.js';
import type { House } from './house.js';
import { timed, times, type Part, type Scale } from './part.js';

const run = promisify(execFile);

/** Uploads are compared with it. */
export const DISK = 'dd to the same disk, conv=fdatasync';

/** What the machine itself can do, in the same round as what we make of it. */
export const limits: Part = {
  async measure(house, scale) {
    return [
      await xargs(scale),
      ...(await commits(house, scale)),
      ...(await messages(house, scale)),
      await disk(house, scale),
    ];
  },
};

async function xargs(scale: Scale): Promise<Figure> {
  const count = times(4000, scale);
  const began = performance.now();
  await run('sh', ['-c', `seq ${count} | xargs -P4 -n1 /bin/true`]);
  const value = count / ((performance.now() - began) / 1000);
  return { name: 'xargs -P4 of /bin/true', unit: 'processes/s', value };
}

async function commits(house: House, scale: Scale): Promise<Figure[]> {
  const url = await house.createDatabase();
  const pool = new pg.Pool({ connectionString: url, max: 16 });
  try {
    await pool.query('CREATE TABLE commits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)');
    const commit = () =>
      pool.query({ name: 'commit', text: 'INSERT INTO commits (text) VALUES ($1)', values: ['a row'] });
    const speed = async (connections: number, count: number): Promise<Figure> => ({
      name: `Postgres commits, synced, ${connections} at once`,
      unit: 'commits/s',
      value: count / (await timed(count, connections, commit)),
    });
    await timed(times(1000, scale), 16, commit);
    return [await speed(1, times(2000, scale)), await speed(16, times(10_000, scale))];
  } finally {
    await pool.end();
  }
}

/** On a durable queue, persistent, as tickets are. */
async function messages({ rabbitmq }: House, scale: Scale): Promise<Figure[]> {
  const count = times(20_000, scale);
  const connection = await connect(rabbitmq.url, { noDelay: true });
  try {
    const channel = await connection.createConfirmChannel();
    const queue = 'bench';
    await channel.assertQueue(queue, { durable: true });
    const publish = () =>
      new Promise<void>((resolve, reject) => {
        channel.sendToQueue(queue, Buffer.from('{"queue":"default"}'), { persistent: true }, (error) =>
          error ? reject(error as Error) : resolve(),
        );
      });
    const published = count / (await timed(count, 100, publish));
    const began = performance.now();
    await channel.prefetch(100);
    await new Promise<void>((resolve) => {
      let left = count;
      void channel.consume(queue, (message) => {
        if (!message) return;
        channel.ack(message);
        if (--left === 0) resolve();
      });
    });
    const consumed = count / ((performance.now() - began) / 1000);
    await channel.deleteQueue(queue);
    return [
      { name: 'RabbitMQ, confirmed publishing, 100 outstanding', unit: 'messages/s', value: published },
      { name: 'RabbitMQ, consuming and acknowledging', unit: 'messages/s', value: consumed },
    ];
  } finally {
    await connection.close();
  }
}

async function disk({ folder }: House, { quick }: Scale): Promise<Figure> {
  const file = path.join(folder, 'dd');
  const mib = quick ? 128 : 1024;
  const began = performance.now();
  await run('dd', ['if=/dev/zero', `of=${file}`, 'bs=1M', `count=${mib}`, 'conv=fdatasync']);
  const value = mib / ((performance.now() - began) / 1000);
  rmSync(file);
  return { name: DISK, unit: 'MiB/s', value };
}
