import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect, type ChannelModel } from 'amqplib';
import { formatApiKey, makeApiKey } from '#gateway/auth/api-key.js';
import { GATEWAY_DEFAULTS } from '#gateway/gateway.config.js';
import { startGateway, type Gateway } from '#gateway/gateway.js';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import { startLauncher } from '#worker/launcher-client.js';
import { launcherPaths } from '#worker/launcher-paths.js';
import { createWorker, type Worker } from '#worker/worker.js';
import { Client } from '../support/client.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { testVhost, type Rights, type TestVhost } from '../support/rabbitmq-vhost.js';
import { eventually } from '../support/signals.js';
import { KeptLog } from '../support/test-broker.js';

const TOP = resolve(__dirname, '../..');

/** What docker-compose.yml gives to the user of workers. */
function rightsOfWorkers(): Rights {
  const text = readFileSync(join(TOP, 'docker-compose.yml'), 'utf8').replaceAll('$$', '$');
  const permissions = /\{\s*"user": "labhand-worker",[^{}]*\}/.exec(text)![0];
  const { configure, write, read } = JSON.parse(permissions) as Rights;
  return { configure, write, read };
}

describe('a worker whose broker user has the rights that it needs and no others', () => {
  const log = new KeptLog();
  let folder: string;
  let vhost: TestVhost;
  let narrowUrl: string;
  let database: TestDatabase;
  let brokers: AmqpBroker[];
  let gateway: Gateway;
  let worker: Worker;
  let client: Client;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'labhand-rights-'));
    vhost = await testVhost();
    narrowUrl = await vhost.addUser(rightsOfWorkers());
    database = await freshDatabase();
    brokers = [
      new AmqpBroker({ url: vhost.url, name: 'gateway', logger: log }),
      new AmqpBroker({ url: narrowUrl, name: 'worker', declares: false, logger: log }),
    ];
    const adminKey = formatApiKey(makeApiKey());
    await brokers[0]!.connect();
    const config = {
      ...GATEWAY_DEFAULTS,
      databaseUrl: database.url,
      port: 0,
      adminKey,
      blobs: { kind: 'directory' as const, directory: join(folder, 'blobs') },
    };
    gateway = await startGateway(config, brokers[0]!, log);
    client = new Client(gateway.url, adminKey);
    worker = await createWorker(
      {
        gatewayUrl: gateway.url,
        queues: { default: 2 },
        queueSettings: {},
        stateDir: join(folder, 'state'),
        workDir: join(folder, 'work'),
        drainTimeout: 5,
        healthPort: 0,
        jobEnvironment: { PATH: process.env.PATH! },
      },
      brokers[1]!,
      {
        launcher: await startLauncher({
          ...launcherPaths(join(TOP, 'dist/apps/worker/src')),
          logger: log,
        }),
      },
    );
    await worker.start();
  });
  afterAll(async () => {
    await worker.close();
    await gateway.stop();
    for (const broker of brokers) await broker.close();
    await database.drop();
    await vhost.remove();
    rmSync(folder, { recursive: true });
  });

  it('runs jobs', async () => {
    const job = await client.run({ command: ['echo', 'hello'] });
    expect(job).toMatchObject({ state: 'succeeded', logs: { stdout: { tail: 'hello\n' } } });
  });

  it('hears orders', async () => {
    const { id } = (await client.post('/v1/jobs', { command: ['sleep', '600'] })).body;
    const isIn = (state: string) =>
      eventually(async () => (await client.get(`/v1/jobs/${id}`)).body.state, state);
    await isIn('running');
    await client.post(`/v1/jobs/${id}/cancel`);
    await isIn('canceled');
  });

  it('serves its queue again when that was deleted', async () => {
    await vhost.deleteQueue('labhand.tickets.default');
    const job = await client.run({ command: ['true'] });
    expect(job.state).toBe('succeeded');
  });

  describe.each<[what: string, tries: (model: ChannelModel) => Promise<unknown>]>([
    [
      'listen to claims',
      async (model) => (await channelOf(model)).consume('labhand.claims', () => undefined),
    ],
    [
      'listen to reports',
      async (model) => (await channelOf(model)).consume('labhand.reports', () => undefined),
    ],
    ['make a queue', async (model) => (await channelOf(model)).assertQueue('labhand.tickets.other')],
    ['delete a queue', async (model) => (await channelOf(model)).deleteQueue('labhand.tickets.default')],
    ['give orders', (model) => published(model, 'labhand.control', 'worker.another')],
    ['tell of events', (model) => published(model, 'labhand.events', 'default.succeeded')],
  ])('its user', (what, tries) => {
    it(`cannot ${what}`, async () => {
      const model = await connect(narrowUrl);
      model.on('error', () => undefined);
      await expect(tries(model)).rejects.toThrow('ACCESS_REFUSED');
      await model.close();
    });
  });
});

async function channelOf(model: ChannelModel) {
  const channel = await model.createChannel();
  channel.on('error', () => undefined);
  return channel;
}

/** A refused message closes the channel. */
async function published(model: ChannelModel, exchange: string, key: string): Promise<void> {
  const channel = await channelOf(model);
  const refused = new Promise<never>((_resolve, reject) => channel.once('error', reject));
  channel.publish(exchange, key, Buffer.from('{}'));
  await Promise.race([refused, new Promise((resolve) => channel.once('close', resolve))]);
}
