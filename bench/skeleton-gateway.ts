import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { connect, type ConsumeMessage } from 'amqplib';
import pg from 'pg';
import {
  CLAIMS,
  declareQueues,
  REPORTS,
  TICKETS,
  type SkeletonJob,
  type SkeletonReport,
} from './skeleton-queues.js';

/**
 * The way of a job through a gateway and nothing else: no checks, keys, owners, lanes, events, leases, limits, logs or
 * repetitions. What is accepted, claimed and recorded is on the disk before it is told, as with Labhand.
 */

const CREATE = `
  CREATE TABLE jobs (id uuid PRIMARY KEY, nth bigserial, spec jsonb NOT NULL, state text NOT NULL, exit_code integer,
                     created_at timestamptz DEFAULT now(), started_at timestamptz, finished_at timestamptz);
  CREATE INDEX jobs_waiting ON jobs (nth) WHERE state = 'queued'`;

const SUBMIT = `INSERT INTO jobs (id, spec, state) VALUES ($1, $2, 'queued')`;

const TAKE = `
  UPDATE jobs SET state = 'running', started_at = now()
  WHERE id = (SELECT id FROM jobs WHERE state = 'queued' ORDER BY nth FOR UPDATE SKIP LOCKED LIMIT 1)
  RETURNING id, spec`;

/** A report and the next claim are one statement: one commit, one wait for the disk. */
const FINISH_AND_TAKE = `
  WITH ended AS (
    UPDATE jobs SET state = 'succeeded', finished_at = now(), exit_code = $2 WHERE id = $1 AND state = 'running'
  ) ${TAKE}`;

async function main(): Promise<void> {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 6 });
  await pool.query(CREATE);
  const run = (name: string, sql: string, values: unknown[]) =>
    pool.query<SkeletonJob>({ name, text: sql, values });

  const publishing = await connect(process.env.AMQP_URL!, { noDelay: true });
  const consuming = await connect(process.env.AMQP_URL!, { noDelay: true });
  const confirming = await publishing.createConfirmChannel();
  await declareQueues(confirming);
  const plain = await publishing.createChannel();
  const requests = await consuming.createChannel();
  await requests.prefetch(100);
  const waiters = new Map<string, () => void>();

  const answer = (request: ConsumeMessage, job: SkeletonJob | undefined) => {
    const { replyTo, correlationId } = request.properties as { replyTo: string; correlationId: string };
    plain.publish('', replyTo, Buffer.from(JSON.stringify(job ?? null)), { correlationId });
    requests.ack(request);
  };
  await requests.consume(
    CLAIMS,
    (request) => void (async () => answer(request!, (await run('take', TAKE, [])).rows[0]))(),
  );
  const record = async (request: ConsumeMessage) => {
    const { id, exitCode } = JSON.parse(request.content.toString()) as SkeletonReport;
    const { rows } = await run('finish', FINISH_AND_TAKE, [id, exitCode]);
    waiters.get(id)?.();
    answer(request, rows[0]);
  };
  await requests.consume(REPORTS, (request) => void record(request!));

  const submit = async (request: IncomingMessage, response: ServerResponse) => {
    const spec = await text(request);
    const id = randomUUID();
    const ended =
      request.headers.prefer === undefined
        ? undefined
        : new Promise<void>((resolve) => waiters.set(id, resolve));
    await run('submit', SUBMIT, [id, spec]);
    await new Promise<void>((resolve, reject) => {
      const confirmed = (error: Error | null) => (error ? reject(error) : resolve());
      confirming.publish('', TICKETS, Buffer.from('{}'), { persistent: true }, confirmed);
    });
    await ended;
    waiters.delete(id);
    const body = JSON.stringify({ id, state: ended ? 'succeeded' : 'queued' });
    response.writeHead(ended ? 200 : 202, {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    });
    response.end(body);
  };
  const server = createServer((request, response) => {
    if (request.method === 'GET') response.end();
    else void submit(request, response);
  });
  server.listen(Number(process.env.PORT), '127.0.0.1');
}

void main();
