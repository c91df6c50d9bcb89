import { createHash } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { fromBufferPromise } from 'yauzl';
import { CallbackReceiver } from '../support/callback-receiver.js';
import { Client, type ProblemBody } from '../support/client.js';
import { startHouse, type House } from '../support/house.js';
import { BROKERS } from '../support/test-broker.js';

const sh = (script: string) => ({ command: ['sh', '-c', script] });

describe.each(Object.keys(BROKERS))('the main job over %s', (broker) => {
  let house: House;

  beforeAll(async () => {
    house = await startHouse({ broker });
  });
  afterAll(() => house.end());

  it('is answered while the client waits', async () => {
    const { status, headers, body } = await house.client.post(
      '/v1/jobs',
      { command: ['echo', 'hello'] },
      { prefer: 'wait=30' },
    );
    expect(status).toBe(200);
    expect(headers.get('preference-applied')).toBe('wait=30');
    expect(headers.get('location')).toBe(`/v1/jobs/${body.id}`);
    expect(body).toMatchObject({ state: 'succeeded', exitCode: 0, attempt: 1 });
    expect(body.logs!.stdout.tail).toBe('hello\n');
  });

  it('is accepted at once, polled, and its files come back byte for byte', async () => {
    const data = Buffer.from(Array.from({ length: 100_000 }, (_, n) => n % 251));
    const { status, body } = await house.client.upload(
      sh('cp data/in.bin copy.bin && mkdir -p a/b && echo text > a/b/note.txt && echo on stderr >&2'),
      [['file', 'data/in.bin', data]],
    );
    expect(status).toBe(202);
    const { body: job } = await house.client.get(`/v1/jobs/${body.id}?wait=50`);
    expect(job).toMatchObject({ state: 'succeeded', outputs: { files: 2 } });

    const files = (
      await house.client.get<{ files: { path: string; size: number; sha256: string }[] }>(job.links.files)
    ).body.files;
    expect(files.map((file) => file.path).sort()).toEqual(['a/b/note.txt', 'copy.bin']);
    const copy = files.find((file) => file.path === 'copy.bin')!;
    expect(copy).toMatchObject({
      size: data.length,
      sha256: createHash('sha256').update(data).digest('hex'),
    });

    const whole = await house.client.get<Buffer>(`${job.links.files}/copy.bin`);
    expect(whole.body.equals(data)).toBe(true);
    const part = await house.client.get<Buffer>(`${job.links.files}/copy.bin`, { range: 'bytes=1000-1999' });
    expect(part.status).toBe(206);
    expect(part.body.equals(data.subarray(1000, 2000))).toBe(true);

    const archive = await house.client.get<Buffer>(job.links.archive!);
    const names: string[] = [];
    const zip = await fromBufferPromise(archive.body);
    for await (const entry of zip.eachEntry()) names.push(entry.fileName);
    expect(names.sort()).toEqual(['a/b/note.txt', 'copy.bin']);
    expect(await house.client.text(`${job.links.logs}?stream=stderr`)).toBe('on stderr\n');
  });

  it('ends in a signed callback', async () => {
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const receiver = await CallbackReceiver.listen();
    const { body } = await house.client.post('/v1/jobs', {
      ...sh('exit 3'),
      callback: { url: receiver.url(), secret },
    });
    await receiver.has(1);
    const call = receiver.received[0]!;
    const payload = new Webhook(secret).verify(call.body, call.headers as Record<string, string>);
    expect(payload).toMatchObject({
      type: 'job.failed',
      data: { id: body.id, state: 'failed', reason: 'exit_code', exitCode: 3 },
    });
    await receiver.close();
  });

  it('sees its environment, its limits and nothing of the worker', async () => {
    const job = await house.run({ ...sh('env | sort'), env: { COLOUR: 'blue' } });
    const names = job.logs!.stdout.tail.split('\n').map((line) => line.split('=')[0]);
    expect(names).toEqual(
      expect.arrayContaining(['COLOUR', 'LABHAND_JOB_ID', 'LABHAND_ATTEMPT', 'LABHAND_QUEUE']),
    );
    expect(names).not.toEqual(expect.arrayContaining(['LABHAND_AMQP_URL']));
  });

  it('tells why it failed', async () => {
    const cases = [
      [{ command: ['no-such-program'] }, { reason: 'spawn_error' }],
      [sh('exit 7'), { reason: 'exit_code', exitCode: 7 }],
      [sh('kill -SEGV $$'), { reason: 'signal', signal: 'SIGSEGV' }],
      [{ ...sh('sleep 60'), limits: { wallTime: '200ms' } }, { reason: 'timeout' }],
    ] as const;
    for (const [job, expected] of cases) {
      expect(await house.run(job as never)).toMatchObject({ state: 'failed', ...expected });
    }
  });

  it('is canceled while it waits and while it runs', async () => {
    const running = (await house.client.post('/v1/jobs', sh('echo started; sleep 60'))).body;
    await house.client.get(`/v1/jobs/${running.id}`);
    const waiting = (await house.client.post('/v1/jobs', { ...sh('true'), delay: '1h' })).body;
    expect((await house.client.post(`/v1/jobs/${waiting.id}/cancel`)).body.state).toBe('canceled');
    expect((await house.client.post(`/v1/jobs/${waiting.id}/cancel`)).status).toBe(200);
    await house.client.post(`/v1/jobs/${running.id}/cancel`);
    const { body } = await house.client.get(`/v1/jobs/${running.id}?wait=30`);
    expect(body.state).toBe('canceled');
    const done = await house.run(sh('true'));
    const refused = await house.client.post<ProblemBody>(`/v1/jobs/${done.id}/cancel`);
    expect(refused).toMatchObject({ status: 409, body: { code: 'state_conflict' } });
  });

  it('is submitted once however often it is sent with one Idempotency-Key', async () => {
    const key = { 'idempotency-key': `key-${Math.random()}` };
    const job = sh('echo once');
    const first = await house.client.post('/v1/jobs', job, key);
    const again = await house.client.post('/v1/jobs', job, key);
    expect(again).toMatchObject({ status: 202, body: first.body });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const other = await house.client.post<ProblemBody>('/v1/jobs', sh('echo twice'), key);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_mismatch' } });
  });

  it('is refused with the field and the remedy when it asks for what is not there', async () => {
    const unknownQueue = await house.client.post<ProblemBody>('/v1/jobs', {
      ...sh('true'),
      queue: 'defualt',
    });
    expect(unknownQueue).toMatchObject({ status: 422, body: { code: 'unknown_queue' } });
    expect(unknownQueue.body.detail).toContain('did you mean "default"');
    const unknownField = await house.client.post<ProblemBody>('/v1/jobs', { comand: ['true'] });
    expect(unknownField.body.errors![0]).toMatchObject({ path: 'comand' });
    expect(unknownField.body.errors![0]!.message).toContain('"command"');
  });

  it("is not there for somebody else's key, nor for none", async () => {
    const job = await house.run(sh('true'));
    expect((await new Client(house.url, undefined).get(`/v1/jobs/${job.id}`)).status).toBe(401);
    expect((await new Client(house.url, 'lh_aaaaaaaaaaaa_wrong').get(`/v1/jobs/${job.id}`)).status).toBe(401);
  });

  it('lists jobs newest first, page by page', async () => {
    for (let n = 0; n < 3; n++)
      await house.client.post('/v1/jobs', { ...sh('true'), labels: { batch: 'list' } });
    interface Page {
      jobs: { id: string }[];
      next?: string;
    }
    const first = (await house.client.get<Page>('/v1/jobs?label=batch=list&limit=2')).body;
    const second = (await house.client.get<Page>(`/v1/jobs?label=batch=list&limit=2&cursor=${first.next}`))
      .body;
    const ids = [...first.jobs, ...second.jobs].map((job) => job.id);
    expect(ids).toHaveLength(3);
    expect([...ids].sort().reverse()).toEqual(ids);
    expect(second.next).toBeUndefined();
  });
});
