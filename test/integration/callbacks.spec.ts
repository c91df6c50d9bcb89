import 'reflect-metadata';
import { Global, Logger, Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Webhook } from 'standardwebhooks';
import type { DataSource } from 'typeorm';
import { AuthModule } from '#gateway/auth/auth.module.js';
import { Keys } from '#gateway/auth/keys.js';
import { CallbacksController } from '#gateway/callbacks/callbacks.controller.js';
import { createFastifyAdapter } from '#gateway/http/fastify.js';
import { HttpModule } from '#gateway/http/http.module.js';
import { AddressGuard, type Lookup } from '#gateway/callbacks/address-guard.js';
import { CallbackMessages } from '#gateway/callbacks/callback-messages.js';
import { CallbackSender } from '#gateway/callbacks/callback-sender.js';
import { CallbackSettings } from '#gateway/callbacks/callback-settings.js';
import { Deliveries } from '#gateway/callbacks/deliveries.js';
import { DeliveryLog, type DeliveryFilter } from '#gateway/callbacks/delivery-log.js';
import { DueDeliveries } from '#gateway/callbacks/due-deliveries.js';
import { JobViews } from '#gateway/callbacks/job-views.js';
import { SigningSecrets } from '#gateway/callbacks/signing-secrets.js';
import { createDataSource } from '#gateway/database/data-source.js';
import { Database } from '#gateway/database/database.js';
import { Secrets } from '#gateway/database/secrets.js';
import { CallbackReceiver, answering } from '../support/callback-receiver.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const LOCAL = ['127.0.0.0/8'];
const SOON = 0.01;
const FAR_OFF = 3600;
const FAR_OFF_MS = 3_600_000;

/** Tells the test that a try has been recorded. */
class WatchedDeliveries extends DueDeliveries {
  recorded = 0;
  private tellHandedBack = (): void => undefined;
  readonly handedBack = new Promise<void>((resolve) => (this.tellHandedBack = resolve));
  private waiting: { count: number; resolve: () => void }[] = [];

  override async record(...all: Parameters<DueDeliveries['record']>): Promise<void> {
    await super.record(...all);
    this.recorded++;
    this.waiting.filter(({ count }) => count <= this.recorded).forEach(({ resolve }) => resolve());
  }

  override async handBack(...all: Parameters<DueDeliveries['handBack']>): Promise<void> {
    await super.handBack(...all);
    this.tellHandedBack();
  }

  async hasRecorded(count: number): Promise<void> {
    if (this.recorded >= count) return;
    await new Promise<void>((resolve) => this.waiting.push({ count, resolve }));
  }
}

class Views extends JobViews {
  async view(jobId: string): Promise<object> {
    return { id: jobId, state: 'succeeded', name: 'naïve ☂' };
  }
}

describe('callbacks', () => {
  let test: TestDatabase;
  let dataSource: DataSource;
  let database: Database;
  let receiver: CallbackReceiver;
  let gateways: Deliveries[];
  let logged: string[];

  beforeAll(async () => {
    test = await freshDatabase();
    dataSource = await createDataSource(test.url).initialize();
    database = new Database(dataSource);
    await database.query(`INSERT INTO queues (name, source) VALUES ('q', 'configuration')`);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await test.drop();
  });
  beforeEach(async () => {
    gateways = [];
    logged = [];
    for (const level of ['log', 'error', 'warn', 'debug'] as const) {
      jest
        .spyOn(Logger.prototype, level)
        .mockImplementation((...line: unknown[]) => logged.push(line.join(' ')));
    }
    receiver = await CallbackReceiver.listen();
    await database.query('TRUNCATE jobs, attempts, events CASCADE');
  });
  afterEach(async () => {
    await receiver.close();
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    jest.restoreAllMocks();
  });

  /** One gateway's part in callbacks, not started yet. */
  function gateway(given: Partial<CallbackSettings> = {}, lookup?: Lookup) {
    const settings = new CallbackSettings({
      allowedNetworks: LOCAL,
      retryDelays: [SOON, SOON, SOON],
      stopGraceMs: 10_000,
      ...given,
    });
    const due = new WatchedDeliveries(database);
    const messages = new CallbackMessages(new Views(), new SigningSecrets(new Secrets(database)));
    const guard = new AddressGuard(settings.allowedNetworks, lookup);
    const deliveries = new Deliveries(due, messages, new CallbackSender(settings, guard), settings);
    gateways.push(deliveries);
    return { deliveries, due };
  }

  function started(...given: Parameters<typeof gateway>) {
    const made = gateway(...given);
    made.deliveries.start();
    return made;
  }

  /** A job that has just succeeded; answers with the id of its delivery. */
  async function finishedJob(
    url: string,
    { secret = null as string | null, owner = 'ada' } = {},
  ): Promise<string> {
    const id = randomUUID();
    await database.query(
      `INSERT INTO jobs (id, queue, owner, state, tries_left, losses_left, spec, callback, finished_at)
       VALUES ($1, 'q', $2, 'succeeded', 0, 0, '{}', jsonb_strip_nulls($3), now())`,
      [id, owner, JSON.stringify({ url, secret })],
    );
    await database.query('SELECT record_event(j) FROM jobs j WHERE id = $1', [id]);
    return (await database.one<{ id: string }>('SELECT id FROM deliveries WHERE job_id = $1', [id]))!.id;
  }

  async function rowOf(delivery: string) {
    const row = await database.one<{
      job_id: string;
      event_id: string;
      state: string;
      tries: number;
      last_status: number | null;
      last_error: string | null;
      finished_at: Date | null;
      seconds: number;
      history: { at: string; status: number | null; error: string | null }[];
    }>(`SELECT *, extract(epoch FROM next_try_at - now())::float8 AS seconds FROM deliveries WHERE id = $1`, [
      delivery,
    ]);
    return row!;
  }

  const serverSecrets = () => new SigningSecrets(new Secrets(database)).current();

  it('a callback leaves at once after the nudge, signed as an independent receiver expects', async () => {
    const { deliveries, due } = started({ pauseMs: FAR_OFF_MS });
    const id = await finishedJob(receiver.url('/hook?token=t'));
    deliveries.nudge();
    await due.hasRecorded(1);
    const { job_id, event_id, ...row } = await rowOf(id);
    const [{ path, headers, body }] = receiver.received as [(typeof receiver.received)[0]];
    const [secret] = await serverSecrets();
    expect(new Webhook(secret!).verify(body, headers as Record<string, string>)).toEqual({
      type: 'job.succeeded',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      data: { id: job_id, state: 'succeeded', name: 'naïve ☂' },
    });
    expect(path).toBe('/hook?token=t');
    expect(headers).toMatchObject({
      'webhook-id': `evt_${event_id}`,
      'content-type': 'application/json',
      'user-agent': expect.stringMatching(/^labhand\/\d+\.\d+\.\d+/),
    });
    expect(row).toMatchObject({ state: 'delivered', tries: 1, last_status: 204, last_error: null });
    expect(row.finished_at).toBeInstanceOf(Date);
  });

  it("a job's own secret signs in place of the server's", async () => {
    const secret = `whsec_${randomBytes(24).toString('base64')}`;
    await finishedJob(receiver.url(), { secret });
    started();
    await receiver.has(1);
    const { body, headers } = receiver.received[0]!;
    expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toBeDefined();
    const [server] = await serverSecrets();
    expect(() => new Webhook(server!).verify(body, headers as Record<string, string>)).toThrow('No matching');
  });

  it('a secret that cannot sign fails the delivery and not the gateway', async () => {
    const spoilt = await finishedJob(receiver.url('/spoilt'), { secret: 'whsec_short' });
    const sound = await finishedJob(receiver.url('/sound'));
    const { due } = started({ retryDelays: [] });
    await due.hasRecorded(2);
    expect(await rowOf(spoilt)).toMatchObject({
      state: 'failed',
      last_error: expect.stringContaining('24 to 64'),
    });
    expect(await rowOf(sound)).toMatchObject({ state: 'delivered' });
  });

  it('after a rotation receivers with the new and with the old secret are satisfied, in every gateway', async () => {
    const { deliveries } = started({ pauseMs: FAR_OFF_MS });
    await finishedJob(receiver.url());
    deliveries.nudge();
    await receiver.has(1);
    const [old] = await serverSecrets();
    const [fresh, previous] = await new SigningSecrets(new Secrets(database)).rotate();
    expect(previous).toBe(old);
    await finishedJob(receiver.url());
    deliveries.nudge();
    await receiver.has(2);
    const { body, headers } = receiver.received[1]!;
    for (const secret of [fresh!, old!]) {
      expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toBeDefined();
    }
    expect(await new SigningSecrets(new Secrets(database)).rotate()).toEqual([expect.any(String), fresh]);
  });

  it('gateways that need the first secret together get the same one', async () => {
    await database.query('DELETE FROM secrets');
    const found = await Promise.all(Array.from({ length: 8 }, serverSecrets));
    expect(new Set(found.flat()).size).toBe(1);
  });

  it('answers other than success are followed by further tries with the same id, until one succeeds', async () => {
    const statuses = [500, 404, 503, 200];
    receiver.answer = (received, number) =>
      answering(statuses[number - 1]!, {}, `no\u0000 ${number}`)(received, number);
    const id = await finishedJob(receiver.url());
    const { due } = started();
    await due.hasRecorded(4);
    const row = await rowOf(id);
    expect(row).toMatchObject({ state: 'delivered', tries: 4, last_status: 200, last_error: null });
    expect(row.history.map(({ status, error }) => [status, error])).toEqual([
      [500, 'the receiver answered 500: no 1'],
      [404, 'the receiver answered 404: no 2'],
      [503, 'the receiver answered 503: no 3'],
      [200, null],
    ]);
    expect(receiver.ids()).toEqual(Array(4).fill(`evt_${row.event_id}`));
    const [secret] = await serverSecrets();
    for (const { body, headers } of receiver.received) {
      expect(new Webhook(secret!).verify(body, headers as Record<string, string>)).toBeDefined();
    }
  });

  it('has failed when the last try has', async () => {
    receiver.answer = answering(500, {}, 'x'.repeat(5000));
    const id = await finishedJob(receiver.url());
    const { due } = started({ retryDelays: [SOON] });
    await due.hasRecorded(2);
    const row = await rowOf(id);
    expect(row).toMatchObject({ state: 'failed', tries: 2, last_status: 500 });
    expect(row.last_error).toBe(`the receiver answered 500: ${'x'.repeat(200)}`);
  });

  it('a receiver that does not answer in time is tried again', async () => {
    receiver.answer = ({ response }, number) => number > 1 && response.writeHead(200).end();
    const id = await finishedJob(receiver.url());
    const { due } = started({ timeoutMs: 50 });
    await due.hasRecorded(2);
    const row = await rowOf(id);
    expect(row).toMatchObject({ state: 'delivered', tries: 2 });
    expect(row.history[0]).toMatchObject({ status: null, error: 'no answer within 0.05 s' });
  });

  it('a body that never ends does not undo the status', async () => {
    receiver.answer = ({ response }) => response.writeHead(200).write('and then');
    const id = await finishedJob(receiver.url());
    const { due } = started({ timeoutMs: 50 });
    await due.hasRecorded(1);
    expect(await rowOf(id)).toMatchObject({ state: 'delivered', tries: 1, last_status: 200 });
  });

  it('a receiver that is not there is tried again until it is', async () => {
    const port = await freePort();
    const id = await finishedJob(`http://127.0.0.1:${port}/`);
    const { due } = started({ retryDelays: Array<number>(1000).fill(SOON) });
    await due.hasRecorded(1);
    expect((await rowOf(id)).history[0]).toMatchObject({ error: expect.stringContaining('ECONNREFUSED') });
    const late = await CallbackReceiver.listen(port);
    try {
      await late.has(1);
      await gateways[0]!.stop();
      expect(await rowOf(id)).toMatchObject({ state: 'delivered', last_status: 204 });
    } finally {
      await late.close();
    }
  });

  it('a kept connection that the receiver has closed costs no try', async () => {
    receiver.answer = ({ response }, number) => {
      if (number === 2) response.socket!.resetAndDestroy();
      else response.writeHead(204).end();
    };
    const { deliveries, due } = started();
    await finishedJob(receiver.url());
    deliveries.nudge();
    await due.hasRecorded(1);
    const id = await finishedJob(receiver.url());
    deliveries.nudge();
    await due.hasRecorded(2);
    expect(await rowOf(id)).toMatchObject({ state: 'delivered', tries: 1 });
    expect(receiver.received).toHaveLength(3);
  });

  it('waits as long as Retry-After says', async () => {
    receiver.answer = answering(429, { 'retry-after': '7200' });
    const id = await finishedJob(receiver.url());
    const { due } = started();
    await due.hasRecorded(1);
    const row = await rowOf(id);
    expect(row).toMatchObject({ state: 'due', last_status: 429 });
    expect(row.seconds).toBeGreaterThan(7000);
  });

  it('410 ends this delivery and all that are due at the same address', async () => {
    receiver.answer = answering(410);
    const id = await finishedJob(receiver.url('/gone'));
    const { due } = started({ parallel: 1, pauseMs: FAR_OFF_MS });
    await due.hasRecorded(1);
    await gateways[0]!.stop();
    expect(await rowOf(id)).toMatchObject({ state: 'failed', tries: 1, last_status: 410 });

    const [first, second] = [
      await finishedJob(receiver.url('/gone')),
      await finishedJob(receiver.url('/gone')),
    ];
    const elsewhere = await finishedJob(receiver.url('/here'));
    await database.query(
      `UPDATE deliveries SET next_try_at = now() + interval '1 hour' WHERE id = ANY ($1)`,
      [[second, elsewhere]],
    );
    const again = started();
    await again.due.hasRecorded(1);
    await again.deliveries.stop();
    expect(await rowOf(first)).toMatchObject({ state: 'failed' });
    expect(await rowOf(second)).toMatchObject({
      state: 'failed',
      last_error: expect.stringContaining('410'),
    });
    expect(await rowOf(elsewhere)).toMatchObject({ state: 'due' });
  });

  it('a redirect is not followed', async () => {
    const other = await CallbackReceiver.listen();
    try {
      receiver.answer = answering(307, { location: other.url() });
      const id = await finishedJob(receiver.url());
      const { due } = started({ retryDelays: [] });
      await due.hasRecorded(1);
      expect(await rowOf(id)).toMatchObject({
        state: 'failed',
        last_status: 307,
        last_error: 'the receiver answered 307; redirects are not followed',
      });
      expect(other.received).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it.each([
    ['an address', (port: number) => `http://127.0.0.1:${port}/`],
    ['an address as one number', (port: number) => `http://2130706433:${port}/`],
    ['an IPv4-mapped address', (port: number) => `http://[::ffff:127.0.0.1]:${port}/`],
    ['a name', (port: number) => `http://localhost:${port}/`],
  ])('nothing is sent to this machine itself, given as %s', async (_what, url) => {
    const id = await finishedJob(url(receiver.port));
    const { due } = started({ allowedNetworks: [], retryDelays: [] });
    await due.hasRecorded(1);
    expect(await rowOf(id)).toMatchObject({
      state: 'failed',
      last_status: null,
      last_error: expect.stringContaining('is not a public address'),
    });
    expect(receiver.received).toEqual([]);
  });

  it('a name is judged by the address that is connected to, each time that one is made', async () => {
    const answers = ['127.0.0.1', '127.0.0.2'];
    const asked: string[] = [];
    const rebinding: Lookup = (hostname, _options, callback) => {
      asked.push(hostname);
      callback(null, [{ address: answers[asked.length - 1]!, family: 4 }]);
    };
    receiver.answer = answering(500, { connection: 'close' });
    const id = await finishedJob(`http://rebinding.test:${receiver.port}/`);
    const { due } = started({ allowedNetworks: ['127.0.0.1/32'], retryDelays: [SOON] }, rebinding);
    await due.hasRecorded(2);
    const { history, state } = await rowOf(id);
    expect(state).toBe('failed');
    expect(history[0]).toMatchObject({ status: 500 });
    expect(history[1]).toMatchObject({
      status: null,
      error: expect.stringContaining('is not a public address'),
    });
    expect(asked).toEqual(['rebinding.test', 'rebinding.test']);
    expect(receiver.received).toHaveLength(1);
  });

  it('plain http is refused where the operator requires https', async () => {
    const id = await finishedJob(receiver.url());
    const { due } = started({ requireHttps: true, retryDelays: [] });
    await due.hasRecorded(1);
    expect(await rowOf(id)).toMatchObject({
      state: 'failed',
      last_error: expect.stringContaining('https only'),
    });
    expect(receiver.received).toEqual([]);
  });

  it('a slow receiver gets no more than its share and holds up nobody else', async () => {
    const slow = await CallbackReceiver.listen();
    const held: (() => void)[] = [];
    slow.answer = ({ response }) => held.push(() => response.writeHead(204).end());
    try {
      for (let n = 0; n < 10; n++) await finishedJob(slow.url());
      for (let n = 0; n < 20; n++) await finishedJob(receiver.url());
      const { due } = started({ parallel: 4, parallelPerHost: 2, pauseMs: FAR_OFF_MS });
      await due.hasRecorded(20);
      expect(receiver.received).toHaveLength(20);
      expect(slow.received).toHaveLength(2);
      for (let n = 1; n <= 10; n++) {
        await slow.has(n);
        expect(slow.received.length - n).toBeLessThan(2);
        held[n - 1]!();
      }
      await due.hasRecorded(30);
    } finally {
      await slow.close();
    }
  });

  it('two gateways share the work and send nothing twice', async () => {
    const ids = new Set<string>();
    for (let n = 0; n < 60; n++) ids.add(`evt_${(await rowOf(await finishedJob(receiver.url()))).event_id}`);
    const two = [started(), started()];
    await receiver.has(60);
    await Promise.all(two.map(({ deliveries }) => deliveries.stop()));
    expect(receiver.received).toHaveLength(60);
    expect(new Set(receiver.ids())).toEqual(ids);
    expect(two[0]!.due.recorded + two[1]!.due.recorded).toBe(60);
  });

  it('what waits for its next try survives a restart', async () => {
    receiver.answer = (received, number) => answering(number === 1 ? 500 : 204)(received, number);
    const id = await finishedJob(receiver.url());
    const first = started({ retryDelays: [FAR_OFF] });
    await first.due.hasRecorded(1);
    await first.deliveries.stop();
    expect((await rowOf(id)).seconds).toBeGreaterThan(FAR_OFF - 100);
    await database.query('UPDATE deliveries SET next_try_at = now() WHERE id = $1', [id]);
    const second = started();
    await second.due.hasRecorded(1);
    expect(await rowOf(id)).toMatchObject({ state: 'delivered', tries: 2 });
    expect(new Set(receiver.ids()).size).toBe(1);
  });

  it('a stop lets a try under way end', async () => {
    let answer: () => void = () => undefined;
    receiver.answer = ({ response }) => (answer = () => response.writeHead(204).end());
    const id = await finishedJob(receiver.url());
    const { deliveries } = started();
    await receiver.has(1);
    const stopped = deliveries.stop();
    answer();
    await stopped;
    expect(await rowOf(id)).toMatchObject({ state: 'delivered', tries: 1 });
  });

  it('a stop hands back a try that does not end, and another gateway makes it at once', async () => {
    receiver.answer = ({ response }, number) => number > 1 && response.writeHead(204).end();
    const id = await finishedJob(receiver.url());
    const first = started({ stopGraceMs: 0 });
    await receiver.has(1);
    await first.deliveries.stop();
    expect(await rowOf(id)).toMatchObject({ state: 'due', tries: 0, history: [] });
    const second = started({ pauseMs: FAR_OFF_MS });
    await second.due.hasRecorded(1);
    expect(await rowOf(id)).toMatchObject({ state: 'delivered', tries: 1 });
  });

  it('a try of a gateway that died is made again when its hold is over, and a late result of it counts no more', async () => {
    const id = await finishedJob(receiver.url());
    const dead = new DueDeliveries(database);
    const [begun] = await dead.take({ room: 1, perHost: 1, busy: {}, holdMs: 100 });
    const { due } = started({ pauseMs: FAR_OFF_MS });
    await due.hasRecorded(1);
    expect(await rowOf(id)).toMatchObject({ state: 'delivered', tries: 2 });
    await dead.record(begun!, { outcome: 'failed', error: 'late' }, { state: 'failed' });
    expect(await rowOf(id)).toMatchObject({ state: 'delivered', last_error: null });
  });

  it('a delivery whose job cannot be read is handed back and costs no try', async () => {
    const id = await finishedJob(receiver.url());
    const reads = jest
      .spyOn(Views.prototype, 'view')
      .mockRejectedValueOnce(new Error('the database is away'));
    const { deliveries, due } = started();
    await due.handedBack;
    await deliveries.stop();
    expect(reads).toHaveBeenCalled();
    expect(await rowOf(id)).toMatchObject({ state: 'due', tries: 0 });
  });

  it('logs say which delivery, host and status, and nothing of address, secret or job', async () => {
    receiver.answer = answering(500, {}, 'answer-text');
    const secret = `whsec_${randomBytes(24).toString('base64')}`;
    const url = receiver.url('/hook-path?token=query-token').replace('http://', 'http://user:pass-word@');
    const id = await finishedJob(url, { secret });
    const { due } = started({ retryDelays: [] });
    await due.hasRecorded(1);
    await gateways[0]!.stop();
    expect(receiver.received[0]!.headers.authorization).toBeDefined();
    const lines = logged.filter((line) => line.includes(id)).join('\n');
    expect(lines).toContain(`127.0.0.1:${receiver.port}: try 1, 500, failed`);
    for (const private_ of ['hook-path', 'query-token', 'pass-word', secret, 'answer-text', 'naïve']) {
      expect(logged.join('\n')).not.toContain(private_);
    }
  });

  it('the receiver in the documentation takes what is genuine, once, and refuses what is not', async () => {
    const [secret] = await serverSecrets();
    const documented = await DocumentedReceiver.start(secret!);
    try {
      const id = await finishedJob(documented.url);
      const { deliveries, due } = started();
      await due.hasRecorded(1);
      const { state, job_id } = await rowOf(id);
      expect(state).toBe('delivered');
      await new DeliveryLog(database, deliveries).replay(id, { keyId: 'k', owner: 'ada', role: 'submitter' });
      await due.hasRecorded(2);
      expect(await rowOf(id)).toMatchObject({ state: 'delivered', last_status: 204 });
      const forged = await fetch(documented.url, {
        method: 'POST',
        body: '{"type":"job.failed","data":{"id":"forged"}}',
        headers: {
          'webhook-id': 'evt_0',
          'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
          'webhook-signature': `v1,${randomBytes(32).toString('base64')}`,
        },
      });
      expect(forged.status).toBe(401);
      expect(await documented.stop()).toEqual([`job.succeeded ${job_id}`]);
    } finally {
      await documented.stop();
    }
  });

  describe('the log of deliveries', () => {
    const ada = { keyId: 'k1', owner: 'ada', role: 'submitter' } as const;
    const bob = { keyId: 'k2', owner: 'bob', role: 'submitter' } as const;
    const operator = { keyId: 'k3', owner: 'op', role: 'operator' } as const;
    const all: DeliveryFilter = { limit: 50 };

    it('shows each owner their own and operators all, newest first, page by page', async () => {
      const log = new DeliveryLog(database, gateway().deliveries);
      const ids: string[] = [];
      for (let n = 0; n < 5; n++)
        ids.unshift(await finishedJob(receiver.url(), { owner: n % 2 ? 'bob' : 'ada' }));
      const seenBy = async (viewer: typeof ada | typeof bob | typeof operator) =>
        (await log.list(all, viewer)).deliveries.map(({ id }) => id);
      expect(await seenBy(operator)).toEqual(ids);
      expect(await seenBy(ada)).toEqual([ids[0], ids[2], ids[4]]);
      expect(await seenBy(bob)).toEqual([ids[1], ids[3]]);

      const first = await log.list({ limit: 2 }, operator);
      const second = await log.list({ limit: 2, cursor: first.next }, operator);
      const third = await log.list({ limit: 2, cursor: second.next }, operator);
      expect([first, second, third].map((page) => page.deliveries.map(({ id }) => id))).toEqual([
        ids.slice(0, 2),
        ids.slice(2, 4),
        ids.slice(4),
      ]);
      expect(third.next).toBeUndefined();
    });

    it('finds by job and by state, and keeps passwords to itself', async () => {
      const log = new DeliveryLog(database, gateway().deliveries);
      const id = await finishedJob('https://user:secret@example.org/hook');
      await finishedJob(receiver.url());
      const { job_id } = await rowOf(id);
      const { deliveries } = await log.list({ ...all, job: job_id, state: 'due' }, ada);
      expect(deliveries).toEqual([
        expect.objectContaining({
          id,
          jobId: job_id,
          type: 'job.succeeded',
          url: 'https://example.org/hook',
        }),
      ]);
      expect((await log.list({ ...all, state: 'failed' }, operator)).deliveries).toEqual([]);
    });

    it.each([
      ['delivered', 204],
      ['failed', 500],
    ])('replays one that was %s, under the same id and with all its tries', async (state, status) => {
      receiver.answer = answering(status);
      const id = await finishedJob(receiver.url());
      const { deliveries, due } = started({ retryDelays: [], pauseMs: FAR_OFF_MS });
      await due.hasRecorded(1);
      expect(await rowOf(id)).toMatchObject({ state });
      receiver.answer = answering(200);
      expect(await new DeliveryLog(database, deliveries).replay(id, ada)).toMatchObject({
        state: 'due',
        tries: 0,
      });
      await due.hasRecorded(2);
      const row = await rowOf(id);
      expect(row).toMatchObject({ state: 'delivered', tries: 1, last_status: 200 });
      expect(row.history).toHaveLength(2);
      expect(new Set(receiver.ids()).size).toBe(1);
    });

    it("refuses to replay somebody else's delivery, an unknown one, and one that is due", async () => {
      const log = new DeliveryLog(database, gateway().deliveries);
      const id = await finishedJob(receiver.url());
      await expect(log.replay(id, bob)).rejects.toMatchObject({ status: 404 });
      await expect(log.replay(randomUUID(), operator)).rejects.toMatchObject({ status: 404 });
      await expect(log.replay('x', operator)).rejects.toMatchObject({ status: 404 });
      await expect(log.replay(id, ada)).rejects.toMatchObject({ status: 409 });
    });
  });
});

describe('callbacks over HTTP', () => {
  let test: TestDatabase;
  let dataSource: DataSource;
  let app: NestFastifyApplication;
  let keys: Record<'submitter' | 'operator' | 'admin', string>;

  beforeAll(async () => {
    test = await freshDatabase();
    dataSource = await createDataSource(test.url).initialize();
    app = await NestFactory.create<NestFastifyApplication>(
      CallbacksApp.on(new Database(dataSource)),
      createFastifyAdapter(),
      { logger: false },
    );
    await app.init();
    const made = app.get(Keys);
    keys = {
      submitter: await made.make('ada', 'submitter'),
      operator: await made.make('op', 'operator'),
      admin: await made.make('root', 'admin'),
    };
  });
  afterAll(async () => {
    await app.close();
    await dataSource.destroy();
    await test.drop();
  });

  const ask = (method: 'GET' | 'POST', url: string, role: keyof typeof keys) =>
    app.inject({ method, url, headers: { authorization: `Bearer ${keys[role]}` } });

  it('only admins read and rotate the secret', async () => {
    for (const role of ['submitter', 'operator'] as const) {
      expect((await ask('GET', '/v1/callbacks/secret', role)).statusCode).toBe(403);
      expect((await ask('POST', '/v1/callbacks/secret/rotate', role)).statusCode).toBe(403);
    }
    const before = (await ask('GET', '/v1/callbacks/secret', 'admin')).json<object>();
    expect(before).toEqual({ secret: expect.stringMatching(/^whsec_/) });
    const after = (await ask('POST', '/v1/callbacks/secret/rotate', 'admin')).json<object>();
    expect(after).toEqual({
      secret: expect.stringMatching(/^whsec_/),
      previous: (before as { secret: string }).secret,
    });
    expect((await ask('GET', '/v1/callbacks/secret', 'admin')).json()).toEqual(after);
  });

  it('any key lists its deliveries, and wrong parameters are named', async () => {
    expect((await ask('GET', '/v1/deliveries', 'submitter')).json()).toEqual({ deliveries: [] });
    for (const [query, path] of [
      ['stat=due', 'stat'],
      ['state=lost', 'state'],
      ['limit=0', 'limit'],
      ['cursor=1-x', 'cursor'],
    ]) {
      const answer = await ask('GET', `/v1/deliveries?${query}`, 'submitter');
      expect(answer.statusCode).toBe(422);
      expect(answer.json()).toMatchObject({ code: 'invalid_request', errors: [{ path }] });
    }
  });

  it('replaying what is not there is 404', async () => {
    const answer = await ask('POST', `/v1/deliveries/${randomUUID()}/replay`, 'admin');
    expect(answer.json()).toMatchObject({ status: 404, code: 'not_found' });
  });
});

@Global()
@Module({})
class CallbacksApp {
  static on(database: Database): DynamicModule {
    return {
      module: CallbacksApp,
      imports: [AuthModule, HttpModule],
      controllers: [CallbacksController],
      providers: [
        { provide: Database, useValue: database },
        { provide: CallbackSettings, useValue: new CallbackSettings() },
        { provide: JobViews, useClass: Views },
        ...[
          Secrets,
          SigningSecrets,
          CallbackMessages,
          CallbackSender,
          DueDeliveries,
          Deliveries,
          DeliveryLog,
        ],
      ],
      exports: [Database],
    };
  }
}

/** A port where nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The Node receiver of docs/callbacks.md, as it stands there. */
class DocumentedReceiver {
  private constructor(
    readonly url: string,
    private readonly program: ChildProcess,
    private readonly lines: string[],
    private readonly folder: string,
    private readonly printed: Promise<void>,
  ) {}

  static async start(secret: string): Promise<DocumentedReceiver> {
    const page = readFileSync(join(process.cwd(), 'docs/callbacks.md'), 'utf8');
    const folder = mkdtempSync(join(tmpdir(), 'labhand-receiver-'));
    const file = join(folder, 'receiver.mjs');
    writeFileSync(file, /```js\n([^]*?)```/.exec(page)![1]!);
    const program = spawn(process.execPath, [file], {
      env: { CALLBACK_SECRET: secret, PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines: string[] = [];
    const reader = createInterface(program.stdout);
    const printed = once(reader, 'close').then(() => undefined);
    await new Promise<void>((resolve) => {
      reader.on('line', (line) => {
        lines.push(line);
        resolve();
      });
    });
    const port = /^listening on (\d+)$/.exec(lines.shift()!)![1]!;
    return new DocumentedReceiver(`http://127.0.0.1:${port}/`, program, lines, folder, printed);
  }

  /** What it printed of callbacks. */
  async stop(): Promise<string[]> {
    this.program.kill();
    await this.printed;
    rmSync(this.folder, { recursive: true, force: true });
    return this.lines;
  }
}
