// `npm run test:compose`: docker-compose.yml for real, on the Docker engine that answers. Not part of `npm test`.
//
//   LABHAND_COMPOSE_BASE   the image that the worker is put into: one with Python 3, by default python:3.11-slim
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { missingDocker, Stack, top } from './stack.mjs';

const run = promisify(execFile);
const base = process.env.LABHAND_COMPOSE_BASE || 'python:3.11-slim';
const WORKERS = 3;
/** Numeric user of the worker's image. */
const WORKER_USER = '10001';

const missing = missingDocker();
if (missing) {
  console.error(missing);
  process.exit(1);
}

const stack = await Stack.named('labhand-test', base);
let failed = false;

/** Facts that build on each other: after the first that does not hold the rest says nothing. */
function fact(name, check) {
  it(name, async (context) => {
    if (failed) return context.skip('an earlier one failed');
    try {
      await check();
    } catch (error) {
      failed = true;
      throw error;
    }
  });
}

describe(`the compose stack, worker in ${base}`, { timeout: 30 * 60_000 }, () => {
  before(async () => {
    process.once('SIGINT', () => void stack.remove().finally(() => process.exit(130)));
    await stack.compose('build');
    await stack.up(WORKERS);
  });

  after(async () => {
    if (failed || !stack.key) console.error(await stack.compose('logs', '--tail', '60').catch(String));
    await stack.remove();
  });

  fact('the folder of the worker runs in an image with nothing else, as root and as anybody', async () => {
    const image = `labhand/worker-files:${stack.name}`;
    await stack.docker(
      'build',
      '--quiet',
      '-f',
      'deploy/worker.Dockerfile',
      '--target',
      'labhand',
      '-t',
      image,
      '.',
    );
    try {
      for (const user of ['0:0', '1000:1000']) {
        // It gets as far as it can without being told where its gateway is.
        await assert.rejects(
          stack.docker('run', '--rm', '--user', user, image),
          /LABHAND_GATEWAY_URL: expected/,
        );
      }
    } finally {
      await stack.docker('image', 'rm', image);
    }
  });

  fact('three workers register, with the launcher that ends jobs for sure', async () => {
    const { workers } = await stack.api('/v1/workers');
    assert.equal(workers.length, WORKERS);
    assert.equal(new Set(workers.map(({ id }) => id)).size, WORKERS);
    for (const { capabilities } of workers) assert.equal(capabilities.sureEnd, true);
  });

  fact('the example runs through it', async () => {
    const env = { ...process.env, LABHAND_URL: stack.url, LABHAND_KEY: stack.key };
    const { stdout } = await run(process.execPath, ['examples/run.mjs', 'sequence-composition'], {
      cwd: top,
      env,
    });
    assert.match(stdout, /succeeded/);
    assert.match(stdout, /composition\.tsv, the first of \d+ rows/);
  });

  fact('a job runs as an ordinary user and cannot read the passwords of its worker', async () => {
    const script = `id -u; cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep AMQP; cat /proc/[0-9]*/cmdline | grep -c opt/labhand`;
    const { id } = await stack.submit(['sh', '-c', script]);
    const { logs } = await stack.job(id);
    const [user, seesTheWorker, ...rest] = logs.stdout.tail.trim().split('\n');
    assert.equal(user, WORKER_USER);
    assert.equal(rest.length, 0, `it reads ${logs.stdout.tail}`);
    // Else the search above proves nothing.
    assert.notEqual(seesTheWorker, '0');
  });

  fact(
    "a worker's user at the broker can neither listen to what other workers send nor speak for gateways",
    async () => {
      const url = `amqp://labhand-worker:${stack.settings.RABBITMQ_WORKER_PASSWORD}@rabbitmq:5672`;
      const said = await stack.inGateway(`
      import { connect } from 'amqplib';
      const connection = await connect(${JSON.stringify(url)});
      const attempt = async (use) => {
        const channel = await connection.createConfirmChannel();
        channel.on('error', () => undefined);
        return use(channel).then(() => 'allowed', ({ message }) => (message.includes('ACCESS_REFUSED') ? 'refused' : message));
      };
      const listen = (queue) => attempt((channel) => channel.consume(queue, () => undefined));
      const publish = (exchange) => attempt(async (channel) => {
        const refused = new Promise((_, reject) => channel.once('error', reject));
        channel.publish(exchange, 'a.b', Buffer.from('x'));
        await Promise.race([channel.waitForConfirms(), refused]);
      });
      console.log(JSON.stringify({
        claims: await listen('labhand.claims'),
        reports: await listen('labhand.reports'),
        live: await listen('labhand.live'),
        dead: await listen('labhand.dead'),
        tickets: await listen('labhand.tickets.default'),
        control: await publish('labhand.control'),
        events: await publish('labhand.events'),
      }));
      await connection.close();
    `);
      const refused = {
        claims: 'refused',
        reports: 'refused',
        live: 'refused',
        dead: 'refused',
        control: 'refused',
        events: 'refused',
      };
      assert.deepEqual(JSON.parse(said), { ...refused, tickets: 'allowed' });
    },
  );

  fact(
    'every job ends once and well when a worker is killed and the gateway is started anew in the middle',
    async () => {
      const sleeps = Array.from({ length: 30 }, (_, index) => 2 + (index % 3));
      const ids = [];
      for (const seconds of sleeps) ids.push((await stack.submit(['sleep', String(seconds)])).id);
      const killed = await stack.inspect((await stack.containers('worker'))[0], '{{.Id}}');
      const host = killed.slice(0, 12);
      const victims = await victimsOn(host);
      await stack.docker('kill', '--signal', 'KILL', killed);
      await stack.compose('restart', 'gateway');
      const jobs = [];
      for (const id of ids) jobs.push(await stack.job(id));
      assert.deepEqual(new Set(jobs.map(({ state }) => state)), new Set(['succeeded']));
      assert.deepEqual(await finalEvents(ids), ids.map((id) => [id, '1']).sort());
      const again = jobs.filter(({ attempt }) => attempt > 1).map(({ id }) => id);
      for (const id of victims) assert.ok(again.includes(id), `${id} was not given to another worker`);
    },
  );

  fact('a stop drains, and a new start finds jobs, files and key again', async () => {
    const { key } = stack;
    // With the worker that was killed.
    await stack.up(WORKERS);
    const ids = [];
    for (let count = 0; count < WORKERS; count++) {
      ids.push((await stack.submit(['sh', '-c', 'sleep 8; echo done > result.txt'])).id);
    }
    for (const id of ids) await stack.job(id, ({ state }) => state === 'running');
    await stack.compose('stop');
    for (const service of ['worker', 'gateway']) {
      for (const container of await stack.containers(service)) {
        assert.equal(await stack.inspect(container, '{{.State.ExitCode}}'), '0', service);
      }
    }
    // The containers, and with them what workers keep: it was handed on before they stopped.
    await stack.compose('rm', '--force', '--volumes');
    await stack.up(1);
    assert.equal(stack.key, key);
    for (const id of ids) {
      const job = await stack.job(id, () => true);
      assert.equal(job.state, 'succeeded');
      assert.equal(job.attempt, 1);
      const file = await stack.fetch(`/v1/jobs/${id}/files/result.txt`, {
        headers: { authorization: `Bearer ${key}` },
      });
      assert.equal(await file.text(), 'done\n');
    }
  });
});

/** Jobs that run on the worker whose container has this host name, once there are some. */
async function victimsOn(host) {
  for (;;) {
    const { workers } = await stack.api('/v1/workers');
    const { id, running } = workers.find((worker) => worker.host === host);
    if (running > 0) {
      const rows = await stack.sql(`SELECT id FROM jobs WHERE state = 'running' AND worker_id = '${id}'`);
      if (rows.length > 0) return rows.map(([job]) => job);
    }
  }
}

async function finalEvents(ids) {
  const list = ids.map((id) => `'${id}'`).join(', ');
  const rows = await stack.sql(
    `SELECT job_id, count(*) FROM events WHERE state IN ('succeeded', 'failed', 'canceled') AND job_id IN (${list}) GROUP BY job_id`,
  );
  return rows.sort();
}
