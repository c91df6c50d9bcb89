import { readFileSync } from 'node:fs';
import { bytesOf, EventSource, type ReceivedEvent } from '../support/event-source.js';
import { Town } from '../support/town.js';

const BYTES = 100_000_000;
const MIB = 2 ** 20;

describe('a job that writes 100 MB as fast as it can', () => {
  let town: Town;
  beforeAll(async () => {
    town = await Town.start();
  }, 180_000);
  afterAll(() => town.end(), 60_000);

  /** MiB, at the worst moment since the program began. */
  const peak = () =>
    Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${town.gateways[0]!.pid}/status`, 'utf8'))![1]) / 1024;

  it('keeps its lease, is kept whole, and is watched with gaps by a gateway that does not grow', async () => {
    const { client } = town;
    await client.run({ command: ['true'] });
    const before = peak();
    const { id } = (
      await client.post('/v1/jobs', {
        // Beyond its lease of three seconds, which only heartbeats renew.
        command: ['sh', '-c', `yes 0123456789 | head -c ${BYTES}; sleep 4; echo; echo over >&2`],
        outputs: ['!**'],
      })
    ).body;
    const url = `${client.url}/v1/jobs/${id}/logs?follow=1`;
    // One that reads, and one that never does.
    const stuck = await EventSource.open(url, town.adminKey);
    const source = await EventSource.open(url, town.adminKey);
    const seen = new Map<string, number>();
    let at = 0;
    for (let event = await source.next(); event; event = await source.next()) {
      seen.set(event.event, (seen.get(event.event) ?? 0) + 1);
      at = endOf(event, at);
    }
    expect(seen.get('gap')).toBeGreaterThan(0);
    expect(at).toBe(BYTES + 1);
    const { body } = await client.get(`/v1/jobs/${id}`);
    expect(body).toMatchObject({ state: 'succeeded', attempt: 1 });
    expect(body.logs!.stdout).toMatchObject({ bytes: BYTES + 1, cut: false });
    expect(peak() - before).toBeLessThan(80);

    const { body: whole } = await client.get<Buffer>(`/v1/jobs/${id}/logs?stream=stdout`);
    expect(whole.length).toBe(BYTES + 1);
    expect(await chunksLeft(id)).toBeLessThan(12 * MIB);
    stuck.close();
  }, 180_000);

  /** Where the stream has come to; fails where an event does not follow the one before it. */
  function endOf(event: ReceivedEvent, at: number): number {
    if (event.event === 'gap') {
      expect(event.data).toMatchObject({ stream: 'stdout', from: at });
      return event.data.to;
    }
    if (event.event !== 'stdout') return at;
    expect(event.data.at).toBe(at);
    return at + bytesOf([event], 'stdout').length;
  }

  async function chunksLeft(id: string): Promise<number> {
    const [row] = await town.rows<{ bytes: string }>(
      'SELECT coalesce(sum(length(data)), 0) AS bytes FROM log_chunks WHERE job_id = $1',
      [id],
    );
    return Number(row!.bytes);
  }
});
