import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { queueSettings, type JobSpecInput } from '#shared/job/job-spec.js';
import type { ProblemBody } from '../support/client.js';
import { bytesOf, EventSource, type ReceivedEvent } from '../support/event-source.js';
import { startHouse, type House } from '../support/house.js';
import { BROKERS } from '../support/test-broker.js';

describe.each(Object.keys(BROKERS))('over %s a job that is followed', (broker) => {
  let house: House;
  let flags: string;

  beforeAll(async () => {
    house = await startHouse({
      broker,
      worker: {
        queues: { default: 4, whole: 1 },
        queueSettings: { whole: queueSettings.parse({ keepFullOutput: true }) },
      },
    });
    flags = mkdtempSync(join(tmpdir(), 'labhand-flags-'));
  });
  afterAll(async () => {
    await house.end();
    rmSync(flags, { recursive: true });
  });

  const sh = (script: string): JobSpecInput => ({ command: ['sh', '-c', script] });
  /** Shell that waits until the test says so. */
  const until = (flag: string) => `while [ ! -e ${join(flags, flag)} ]; do sleep 0.02; done;`;
  const say = (flag: string) => writeFileSync(join(flags, flag), '');
  const isText = (text: string) => (event: ReceivedEvent) => event.data.text?.includes(text) === true;

  async function submit(job: JobSpecInput): Promise<string> {
    return (await house.client.post('/v1/jobs', job)).body.id;
  }

  function follow(id: string, query = '', lastEventId?: string, url = house.url): Promise<EventSource> {
    return EventSource.open(`${url}/v1/jobs/${id}/logs?follow=1${query}`, house.adminKey, lastEventId);
  }

  it('is seen while it runs, stdout and stderr apart, until its end', async () => {
    const id = await submit(sh(`echo one; ${until('seen')} echo two >&2; echo three; exit 3`));
    const source = await follow(id);
    expect(source.response.headers['content-type']).toBe('text/event-stream');
    const first = await source.until(isText('one'));
    expect(first.map(({ event }) => event)).toEqual(['attempt', 'stdout']);
    expect(first[1]!.data).toEqual({ at: 0, text: 'one\n' });
    expect((await house.client.get(`/v1/jobs/${id}`)).body.state).toBe('running');
    say('seen');
    const events = [...first, ...(await source.rest())];
    expect(bytesOf(events, 'stdout').toString()).toBe('one\nthree\n');
    expect(bytesOf(events, 'stderr').toString()).toBe('two\n');
    expect(events.at(-1)).toMatchObject({
      event: 'end',
      data: { attempt: 1, state: 'failed', reason: 'exit_code', exitCode: 3 },
    });
  });

  it('is seen by many, each from where it likes', async () => {
    const id = await submit(sh(`echo 0123456789; ${until('many')} echo end`));
    const early = await follow(id);
    await early.until(isText('9'));
    const sources = await Promise.all([
      ...Array.from({ length: 20 }, () => follow(id)),
      follow(id, '&tail=4'),
      follow(id, '&from=tail&tail=0&stream=stdout'),
      follow(id, '&stream=stderr'),
    ]);
    const firsts = await Promise.all(sources.map((source) => source.next()));
    expect(new Set(firsts.map((event) => event!.event))).toEqual(new Set(['attempt']));
    say('many');
    const seen = await Promise.all(sources.map((source) => source.rest()));
    const texts = seen.map((events) => bytesOf(events, 'stdout').toString());
    expect(texts).toEqual([...Array(20).fill('0123456789\nend\n'), '789\nend\n', 'end\n', '']);
    early.close();
  });

  it('is followed on where a client was, in both streams, at another gateway', async () => {
    const other = await house.startGateway();
    const id = await submit(
      sh(`printf 'out €1'; printf 'err €1' >&2; ${until('away')} printf 'out 2'; printf 'err 2' >&2`),
    );
    const source = await follow(id);
    const before = [
      ...(await source.until(({ event }) => event === 'stdout' || event === 'stderr')),
      ...(await source.until(({ event }) => event === 'stdout' || event === 'stderr')),
    ];
    source.close();
    const again = await follow(id, '', source.lastEventId, other.url);
    say('away');
    const after = await again.rest();
    expect(after.map(({ event }) => event)).not.toContain('attempt');
    expect(bytesOf([...before, ...after], 'stdout').toString()).toBe('out €1out 2');
    expect(bytesOf([...before, ...after], 'stderr').toString()).toBe('err €1err 2');
    const over = await follow(id, '', again.lastEventId);
    expect(over.status).toBe(204);
    await other.stop();
  });

  it('is seen byte for byte, whatever it writes', async () => {
    const bytes = Array.from({ length: 512 }, (_, n) => `\\${(n % 256).toString(8).padStart(3, '0')}`);
    const id = await submit(sh(`printf '${bytes.join('')}€'; ${until('bytes')} printf 'more'`));
    const source = await follow(id);
    const first = await source.until(({ event }) => event === 'stdout');
    say('bytes');
    const whole = bytesOf([...first, ...(await source.rest())], 'stdout');
    const expected = Buffer.concat([
      Buffer.from(Array.from({ length: 512 }, (_, n) => n % 256)),
      Buffer.from('€more'),
    ]);
    expect(whole.equals(expected)).toBe(true);
  });

  it('is followed from one attempt to the next', async () => {
    const id = await submit({
      ...sh(`echo attempt $LABHAND_ATTEMPT; [ $LABHAND_ATTEMPT = 2 ] && exit; ${until('first')} exit 1`),
      retry: { tries: 2, backoff: 0 },
    });
    const source = await follow(id);
    // Who comes later begins with the second attempt.
    const seen = await source.until(isText('attempt 1'));
    say('first');
    const events = [...seen, ...(await source.rest())];
    expect(events.map(({ event }) => event)).toEqual(['attempt', 'stdout', 'attempt', 'stdout', 'end']);
    expect(events[2]!.data).toMatchObject({ attempt: 2 });
    expect(bytesOf(events, 'stdout').toString()).toBe('attempt 1\nattempt 2\n');

    const first = await (await follow(id, '&attempt=1')).rest();
    expect(bytesOf(first, 'stdout').toString()).toBe('attempt 1\n');
    expect(first.at(-1)).toMatchObject({ event: 'end', data: { attempt: 1, ending: 'failed' } });
    expect(await house.client.text(`/v1/jobs/${id}/logs?stream=stdout&attempt=1`)).toBe('attempt 1\n');
    expect(await house.client.text(`/v1/jobs/${id}/logs?stream=stdout`)).toBe('attempt 2\n');
    const third = await house.client.get<ProblemBody>(`/v1/jobs/${id}/logs?attempt=3`);
    expect(third).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  it('may have ended long ago', async () => {
    const { id } = await house.run(sh('seq 1 100000'));
    const events = await (await follow(id)).rest();
    const whole = bytesOf(events, 'stdout').toString();
    expect(whole).toBe(Array.from({ length: 100_000 }, (_, n) => `${n + 1}\n`).join(''));
    const halfway = events[Math.floor(events.length / 2)]!.id!;
    const place = Number(halfway.split('.')[1]);
    const rest = await (await follow(id, '', halfway)).rest();
    expect(bytesOf(rest, 'stdout').toString()).toBe(whole.slice(place));
    const tail = await (await follow(id, '&tail=7')).rest();
    expect(bytesOf(tail, 'stdout').toString()).toBe('100000\n');
  });

  it('is followed before it begins, and when it never does', async () => {
    const id = await submit({ ...sh('echo late'), hold: true });
    const source = await follow(id);
    const canceled = await submit({ ...sh('true'), hold: true });
    const never = await follow(canceled);
    await house.client.post(`/v1/jobs/${id}/release`);
    await house.client.post(`/v1/jobs/${canceled}/cancel`);
    expect(bytesOf(await source.rest(), 'stdout').toString()).toBe('late\n');
    expect((await never.rest()).map(({ event, data }) => [event, data.state])).toEqual([['end', 'canceled']]);
  });

  it('that writes faster than is watched has gaps while it runs and none afterwards', async () => {
    const lines = 3_000_000;
    const id = await submit({
      ...sh(`seq 1 ${lines}; ${until('flood')} echo end`),
      limits: { output: '1Gi' },
    });
    const source = await follow(id);
    const seen = await source.until(isText(`\n${lines}\n`));
    say('flood');
    seen.push(...(await source.rest()));
    const gaps = seen.filter(({ event }) => event === 'gap').map(({ data }) => data);
    expect(gaps.length).toBeGreaterThan(0);
    let at = 0;
    for (const { event, data } of seen) {
      if (event === 'gap') {
        expect(data).toMatchObject({ stream: 'stdout', from: at });
        at = data.to;
      } else if (event === 'stdout') {
        expect(data.at).toBe(at);
        at += Buffer.byteLength(data.text);
      }
    }
    const kept = await (await follow(id)).rest();
    expect(kept.some(({ event }) => event === 'gap')).toBe(false);
    const whole = bytesOf(kept, 'stdout').toString();
    expect(whole).toHaveLength(at);
    expect(whole.endsWith(`${lines - 1}\n${lines}\nend\n`)).toBe(true);
  });

  it('that writes more than its limit has a marked cut', async () => {
    const job = await house.run({ ...sh('seq 1 100000'), limits: { output: 1000 } });
    const events = await (await follow(job.id)).rest();
    expect(bytesOf(events, 'stdout')).toHaveLength(1000);
    expect(events.slice(-2)).toMatchObject([
      { event: 'cut', data: { stream: 'stdout', at: 1000 } },
      { event: 'end' },
    ]);
    expect(await house.client.text(`/v1/jobs/${job.id}/logs`)).toContain('[cut: the command wrote more');
  });

  it('has all that it wrote in its archive, where its queue keeps that', async () => {
    const job = await house.run({
      ...sh('seq 1 200000; echo fine >&2; echo own > own.txt'),
      queue: 'whole',
      limits: { output: '100k' },
    });
    expect(job).toMatchObject({
      state: 'succeeded',
      outputs: { files: 2 },
      logs: { stdout: { bytes: 100_000, cut: true }, stderr: { bytes: 5, cut: false } },
    });
    const whole = Array.from({ length: 200_000 }, (_, n) => `${n + 1}\n`).join('');
    expect(await house.client.text(`${job.links.files}/full-output/stdout`)).toBe(whole);
    expect(await house.client.text(`${job.links.logs}?stream=stdout`)).toBe(whole.slice(0, 100_000));
    const short = await house.run({ ...sh('echo little'), queue: 'whole' });
    expect(short.outputs).toBeUndefined();
  });

  it('tells its progress by a line, which stays in the log', async () => {
    const id = await submit(sh(`echo ::progress 42 minimising; ${until('progress')}`));
    const source = await follow(id);
    await source.until(isText('::progress 42 minimising\n'));
    const progress = async () => (await house.client.get(`/v1/jobs/${id}`)).body.progress;
    while (!(await progress()));
    expect(await progress()).toEqual({ percent: 42, message: 'minimising' });
    say('progress');
    await source.rest();
  });

  it.each(['0.0.0', 'x', '1.2', '1.-1.0', '1.0.0.begin'])(
    'is not followed on after %p, which is no id of its events',
    async (id) => {
      const job = await house.run(sh('true'));
      const source = await follow(job.id, '', id);
      expect(source.status).toBe(422);
      source.close();
    },
  );

  it('is let go of when its gateway stops', async () => {
    const other = await house.startGateway();
    const id = await submit(sh(`echo begun; ${until('stopped')} echo end`));
    const source = await follow(id, '', undefined, other.url);
    const before = await source.until(isText('begun'));
    await other.stop();
    expect(await source.rest()).toEqual([]);
    const again = await follow(id, '', source.lastEventId);
    say('stopped');
    expect(bytesOf([...before, ...(await again.rest())], 'stdout').toString()).toBe('begun\nend\n');
  });
});
