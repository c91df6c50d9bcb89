import { Pool } from 'pg';
import { Keys } from '#gateway/auth/keys.js';
import { JobEvents } from '#gateway/events/job-events.js';
import { EVENTS_EXCHANGE } from '#shared/amqp/topology.js';
import { decodeMessage } from '#shared/channel/envelope.js';
import type { JobEvent } from '#shared/messages/messages.js';
import { EventSource } from '../support/event-source.js';
import { startHouse, type House } from '../support/house.js';
import { eventually } from '../support/signals.js';

let house: House;
let database: Pool;

beforeAll(async () => {
  house = await startHouse({ worker: { queues: { default: 2, other: 1 } } });
  database = new Pool({ connectionString: house.databaseUrl, max: 2 });
});
afterAll(async () => {
  await database.end();
  await house.end();
});

const open = (path: string, lastEventId?: string, url = house.url, key = house.adminKey) =>
  EventSource.open(url + path, key, lastEventId);
const statesOf = (events: readonly { data: { state: string } }[]) => events.map(({ data }) => data.state);

describe('the events of a job', () => {
  it('are told from its submission to its end, and then no more', async () => {
    const { body } = await house.client.post('/v1/jobs', { command: ['true'], hold: true });
    const source = await open(`/v1/jobs/${body.id}/events`);
    expect((await source.next())!.data).toMatchObject({ jobId: body.id, state: 'held', attempt: 0 });
    await house.client.post(`/v1/jobs/${body.id}/release`);
    const rest = await source.rest();
    expect(statesOf(rest)).toEqual(['queued', 'running', 'succeeded']);
    expect(rest.every(({ id, data }) => id === data.id)).toBe(true);
    const after = await open(`/v1/jobs/${body.id}/events`, rest[0]!.id);
    expect(statesOf(await after.rest())).toEqual(['running', 'succeeded']);
    expect((await open(`/v1/jobs/${body.id}/events`, rest.at(-1)!.id)).status).toBe(204);
  });

  it('are told by state, and end with the job whatever is asked for', async () => {
    const { id } = await house.run({ command: ['true'] });
    const source = await open(`/v1/jobs/${id}/events?state=running`);
    expect(statesOf(await source.rest())).toEqual(['running']);
  });

  it('wake who waits for its end at another gateway', async () => {
    const other = await house.startGateway();
    const { body } = await house.client.post('/v1/jobs', { command: ['true'], hold: true });
    const events = other.app.get(JobEvents);
    const patience = AbortSignal.timeout(30_000);
    // The first who waits lets the gateway hear the others, and looks again when it does.
    expect(await events.end(body.id, patience)).toBeUndefined();
    const end = events.end(body.id, patience);
    await house.client.post(`/v1/jobs/${body.id}/cancel`);
    expect(await end).toEqual({});
    expect(patience.aborted).toBe(false);
    await other.stop();
  });

  it('go to the events exchange, under the name of their queue and state', async () => {
    const heard: JobEvent[] = [];
    const listening = await house.broker.consume(
      { exchange: EVENTS_EXCHANGE.name, keys: ['default.succeeded', '*.queued'] },
      { consumers: 1, prefetch: 10 },
      ({ message }) => {
        heard.push(decodeMessage(message) as JobEvent);
        return Promise.resolve('ack');
      },
    );
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => (await house.run({ command: ['true'] })).id),
    );
    const theirs = () => heard.filter(({ jobId }) => ids.includes(jobId));
    await eventually(() => theirs().length, 2 * ids.length);
    const { rows } = await database.query(
      `SELECT id, job_id AS "jobId", state FROM events WHERE job_id = ANY ($1) AND state <> 'running' ORDER BY id`,
      [ids],
    );
    const inOrder = theirs().sort((one, other) => Number(one.id) - Number(other.id));
    expect(inOrder.map(({ id, jobId, state }) => ({ id, jobId, state }))).toEqual(rows);
    await listening.stop();
  });

  it('are not there for others', async () => {
    const { id } = await house.run({ command: ['true'] });
    const key = await keyOf('bob');
    const source = await open(`/v1/jobs/${id}/events`, undefined, house.url, key);
    expect(source.status).toBe(404);
    source.close();
  });
});

describe('the events of all jobs', () => {
  it('are told by queue and state, as they come', async () => {
    const source = await open('/v1/events?queue=other&state=queued,succeeded');
    await house.run({ command: ['true'] });
    const { id } = await house.run({ command: ['true'], queue: 'other' });
    const [first, second] = [await source.next(), await source.next()];
    expect([first!.data, second!.data]).toMatchObject([
      { jobId: id, queue: 'other', state: 'queued' },
      { jobId: id, queue: 'other', state: 'succeeded' },
    ]);
    source.close();
  });

  it('are only the own ones of a submitter', async () => {
    const key = await keyOf('carol');
    const source = await open('/v1/events', undefined, house.url, key);
    await house.run({ command: ['true'] });
    const response = await fetch(`${house.url}/v1/jobs`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: '{"command": ["true"]}',
    });
    const { id } = (await response.json()) as { id: string };
    expect((await source.next())!.data).toMatchObject({ jobId: id, owner: 'carol', state: 'queued' });
    source.close();
  });

  it('are told on by another gateway, none twice and none left out', async () => {
    const other = await house.startGateway();
    const source = await open('/v1/events');
    const ids = await Promise.all(
      Array.from(
        { length: 10 },
        async () => (await house.client.post('/v1/jobs', { command: ['true'] })).body.id,
      ),
    );
    const seen = [];
    for (let n = 0; n < 7; n++) seen.push((await source.next())!);
    source.close();
    const again = await open('/v1/events', source.lastEventId, other.url);
    while (seen.filter(({ data }) => data.state === 'succeeded').length < ids.length) {
      seen.push((await again.next())!);
    }
    again.close();
    expect(new Set(seen.map(({ id }) => id)).size).toBe(30);
    for (const id of ids) {
      const mine = seen.filter(({ data }) => data.jobId === id);
      expect(statesOf(mine)).toEqual(['queued', 'running', 'succeeded']);
    }
    await other.stop();
  });

  it('say when history was dropped', async () => {
    const first = await house.run({ command: ['true'] });
    const second = await house.run({ command: ['true'] });
    const { rows } = await database.query('SELECT min(id) AS id FROM events WHERE job_id = $1', [first.id]);
    await database.query('DELETE FROM jobs WHERE id = $1', [first.id]);
    const source = await open('/v1/events', rows[0].id);
    expect(await source.next()).toMatchObject({ event: 'dropped', data: { lastEventId: rows[0].id } });
    expect((await source.next())!.data).toMatchObject({ jobId: second.id, state: 'queued' });
    source.close();
    const foreign = await open('/v1/events', '999999999999');
    expect(await foreign.next()).toMatchObject({ event: 'dropped' });
    foreign.close();
  });

  it('wait for one that was begun before them and is not there yet', async () => {
    const { id } = await house.run({ command: ['true'] });
    const slow = await database.connect();
    const insert = `INSERT INTO events (job_id, queue, owner, state, attempt) SELECT id, queue, owner, 'held', 7
      FROM jobs WHERE id = $1 RETURNING id`;
    const source = await open('/v1/events');
    await slow.query('BEGIN');
    const early = (await slow.query(insert, [id])).rows[0].id;
    const late = (await database.query(insert, [id])).rows[0].id;
    const next = source.next();
    // Something to wake the follower, which now has the later one before its eyes.
    await house.client.post('/v1/jobs', { command: ['true'], hold: true });
    await slow.query('COMMIT');
    slow.release();
    expect([(await next)!.id, (await source.next())!.id]).toEqual([early, late]);
    source.close();
  });

  it('are refused after what is no id', async () => {
    const source = await open('/v1/events', 'yesterday');
    expect(source.status).toBe(422);
    source.close();
  });
});

function keyOf(owner: string): Promise<string> {
  return house.gateway.app.get(Keys).make(owner, 'submitter');
}
