import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { connect, type ConsumeMessage } from 'amqplib';
import { startLauncher } from '#worker/launcher-client.js';
import { launcherPaths } from '#worker/launcher-paths.js';
import {
  CLAIMS,
  declareQueues,
  REPORTS,
  TICKETS,
  type SkeletonJob,
  type SkeletonReport,
} from './skeleton-queues.js';

/** The way of a job through a worker and nothing else; its command is started and confined by Labhand's launcher. */

const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to';
const [folder, slots] = [process.env.STATE_DIR!, Number(process.env.SLOTS)];

async function main(): Promise<void> {
  const launcher = await startLauncher({
    ...launcherPaths(path.join(process.env.DIST!, 'apps/worker/src')),
    logger: { warn: (message) => process.stderr.write(`${message}\n`) },
  });
  const publishing = await connect(process.env.AMQP_URL!, { noDelay: true });
  const consuming = await connect(process.env.AMQP_URL!, { noDelay: true });
  const plain = await publishing.createChannel();
  const waiting = new Map<string, (job: SkeletonJob | null) => void>();
  const answered = ({ properties, content }: ConsumeMessage) => {
    const correlationId = String(properties.correlationId);
    waiting.get(correlationId)!(JSON.parse(content.toString()) as SkeletonJob | null);
    waiting.delete(correlationId);
  };
  await plain.consume(DIRECT_REPLY_TO, (answer) => answered(answer!), { noAck: true });

  let asked = 0;
  const ask = (queue: string, body: SkeletonReport | object) =>
    new Promise<SkeletonJob | null>((resolve) => {
      const correlationId = String(++asked);
      waiting.set(correlationId, resolve);
      plain.publish('', queue, Buffer.from(JSON.stringify(body)), {
        correlationId,
        replyTo: DIRECT_REPLY_TO,
      });
    });

  const run = async ({ id, spec }: SkeletonJob): Promise<SkeletonReport> => {
    const workspace = path.join(folder, id);
    const [stdout, stderr] = [`${workspace}.out`, `${workspace}.err`];
    await mkdir(workspace);
    const { exitCode } = await launcher.start({
      id,
      command: spec.command,
      env: { PATH: '/usr/bin:/bin' },
      directory: workspace,
      stdout,
      stderr,
      wallTime: 60,
      killGrace: 1,
      isolation: 'process',
      writable: [workspace],
      hidden: [folder],
    }).ended;
    await Promise.all([rm(workspace, { recursive: true }), rm(stdout), rm(stderr)]);
    return { id, exitCode };
  };

  const tickets = await consuming.createChannel();
  await declareQueues(tickets);
  await tickets.prefetch(1);
  const serve = async (ticket: ConsumeMessage) => {
    let job = await ask(CLAIMS, {});
    while (job) {
      job = await ask(REPORTS, await run(job));
      if (job) void tickets.get(TICKETS, { noAck: true });
    }
    tickets.ack(ticket);
  };
  for (let slot = 0; slot < slots; slot++) await tickets.consume(TICKETS, (ticket) => void serve(ticket!));
  process.stdout.write('listening\n');
}

void main();
