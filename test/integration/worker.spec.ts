import { Logger } from '@nestjs/common';
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { fromBufferPromise } from 'yauzl';
import { ZipFile } from 'yazl';
import { buffer } from 'node:stream/consumers';
import { ticketsQueue } from '#shared/amqp/topology.js';
import type { ClaimedJob, Finished } from '#shared/messages/messages.js';
import { startLauncher } from '#worker/launcher-client.js';
import { Spool } from '#worker/spool.js';
import { createWorker, type Worker } from '#worker/worker.js';
import type { WorkerSettings } from '#worker/worker.config.js';
import { FakeGateway } from '../support/fake-gateway.js';
import { eventually, gate } from '../support/signals.js';
import { spooled } from '../support/spooled.js';

const programs = mkdtempSync(join(tmpdir(), 'labhand-programs-'));
const nodeProgram = join(programs, 'node-launcher.cjs');

beforeAll(() => {
  Logger.overrideLogger(false);
  const source = resolve(__dirname, '../../apps/worker/src/node-launcher.ts');
  buildSync({ entryPoints: [source], outfile: nodeProgram, bundle: true, platform: 'node', format: 'cjs' });
});

afterAll(() => rmSync(programs, { recursive: true }));

/** Nobody may be there to collect a dead process: a zombie runs no more. */
function isRunning(pid: string): boolean {
  const stat = `/proc/${pid}/stat`;
  return existsSync(stat) && !readFileSync(stat, 'utf8').includes(') Z ');
}

describe('a worker', () => {
  let folder: string;
  let gateway: FakeGateway;
  let worker: Worker;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'labhand-worker-'));
    gateway = new FakeGateway();
    await gateway.start();
  });

  afterEach(async () => {
    await worker.close();
    await gateway.close();
    rmSync(folder, { recursive: true });
  });

  async function put(together: Partial<WorkerSettings> = {}): Promise<Worker> {
    const settings: WorkerSettings = {
      gatewayUrl: gateway.url,
      queues: { default: 2 },
      queueSettings: {},
      stateDir: join(folder, 'state'),
      workDir: join(folder, 'work'),
      drainTimeout: 30,
      healthPort: 0,
      jobEnvironment: { PATH: process.env.PATH! },
      ...together,
    };
    const launcher = await startLauncher({ nodeProgram, logger: { warn: () => undefined } });
    try {
      worker = await createWorker(settings, gateway.broker, { launcher });
    } catch (error) {
      await launcher.close();
      throw error;
    }
    return worker;
  }

  async function started(settings?: Partial<WorkerSettings>): Promise<void> {
    await (await put(settings)).start();
  }

  const sh = (script: string, ...args: string[]) => ({ command: ['sh', '-c', script, 'sh', ...args] });
  const text = (stream: Finished['outcome']['stdout']) => Buffer.from(stream.tail, 'base64').toString();
  const filesBelow = (path: string) =>
    readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());
  const workspaces = () => readdirSync(join(folder, 'work'));

  async function run(part: Partial<ClaimedJob>): Promise<Finished['outcome']> {
    return gateway.outcomeOf(await gateway.give(part));
  }

  /** Resolves when the worker holds nothing more, as its heartbeat says, and checks that nothing is left of it. */
  async function isAsBefore(): Promise<void> {
    const beats = gateway.said.heartbeats.length;
    await gateway.until(({ heartbeats }) =>
      heartbeats.slice(beats + 1).find(({ attempts }) => attempts.length === 0),
    );
    expect(spooled(join(folder, 'state'))).toEqual([]);
    expect(filesBelow(join(folder, 'work'))).toEqual([]);
  }

  async function listing(job: ClaimedJob): Promise<{ path: string; size: number; sha256: string }[]> {
    return JSON.parse(gateway.uploads.get(`${job.jobId}/1/outputs.json`)!.body.toString());
  }

  describe('that runs', () => {
    beforeEach(() => started());
    afterEach(isAsBefore);

    it('has registered what it serves and what it can', () => {
      const [registration] = gateway.said.registrations;
      expect(registration).toMatchObject({ workerId: worker.id, queues: { default: { slots: 2 } } });
      expect(Object.keys(registration!.capabilities).length).toBeGreaterThan(0);
    });

    it('reports a short job in one message, with its whole log and no upload', async () => {
      const outcome = await run(sh('echo out; echo err >&2'));
      expect(outcome).toMatchObject({
        state: 'succeeded',
        exitCode: 0,
        outputs: null,
        stdout: { bytes: 4, cut: false, whole: true },
        usage: { wallSeconds: expect.any(Number) },
      });
      expect([text(outcome.stdout), text(outcome.stderr)]).toEqual(['out\n', 'err\n']);
      expect(gateway.uploads.size).toBe(0);
      expect(gateway.said.logs).toEqual([]);
    });

    it('places inputs, given inline, to be fetched, or in an archive', async () => {
      const zip = new ZipFile();
      zip.addBuffer(Buffer.from('from the archive'), 'deep/packed.txt');
      zip.end();
      gateway.files.set('a.zip', await buffer(zip.outputStream));
      gateway.files.set('b.dat', Buffer.from('fetched'));
      const sha256 = createHash('sha256').update('fetched').digest('hex');
      const outcome = await run({
        ...sh('./run.sh; cat data/b.dat deep/packed.txt; ls'),
        inputs: [
          { path: 'run.sh', size: 20, content: '#!/bin/sh\necho inline\n', executable: true },
          { path: 'data/b.dat', size: 7, href: '/files/b.dat', sha256 },
          { path: 'a.zip', size: 1, href: '/files/a.zip', archive: 'zip' },
        ],
      });
      expect(text(outcome.stdout)).toBe('inline\nfetchedfrom the archivedata\ndeep\nrun.sh\n');
      expect(outcome.outputs).toBeNull();
    });

    it('fails a job whose input is not there, or would land outside', async () => {
      const missing = await run({ inputs: [{ path: 'x', size: 1, href: '/files/none' }] });
      expect(missing).toMatchObject({
        state: 'failed',
        reason: 'input_error',
        infrastructure: true,
        message: expect.stringContaining('the gateway answered 404 to /files/none'),
      });
      const outside = await run({ inputs: [{ path: '../x', size: 1, content: 'x' }] });
      expect(outside).toMatchObject({
        reason: 'input_error',
        message: expect.stringContaining("has a '..' part"),
      });
      expect(outside).not.toHaveProperty('infrastructure');
      expect(existsSync(join(folder, 'work/x'))).toBe(false);
    });

    it('gives a command its own environment and nothing of the worker', async () => {
      const job = await gateway.give({ ...sh('env; pwd'), env: { SEED: '7' } });
      const lines = text((await gateway.outcomeOf(job)).stdout).split('\n');
      expect(lines).toEqual(
        expect.arrayContaining([
          'SEED=7',
          `LABHAND_JOB_ID=${job.jobId}`,
          'LABHAND_ATTEMPT=1',
          'LABHAND_QUEUE=default',
        ]),
      );
      const names = lines.filter((line) => line.includes('=')).map((line) => line.split('=')[0]);
      const known =
        /^(LABHAND_(JOB_ID|ATTEMPT|QUEUE|INPUT|OUTPUT|PROGRESS)|SEED|PATH|HOME|TMPDIR|PWD|OLDPWD|SHLVL|_)$/;
      expect(names.filter((name) => !known.test(name!))).toEqual([]);
    });

    it.each([
      [
        'does not exist',
        { command: ['no-such-program'] },
        'spawn_error',
        /no-such-program was not found \(ENOENT\)/,
      ],
      [
        'is not executable',
        { command: ['/etc/passwd'] },
        'spawn_error',
        /\/etc\/passwd may not be executed \(EACCES\)/,
      ],
      ['exits non-zero', sh('echo why; exit 3'), 'exit_code', /exited with code 3/],
      ['dies by a signal', sh('echo why; kill -SEGV $$'), 'signal', /died of the signal SIGSEGV/],
      [
        'outlives its limit',
        { ...sh('echo why; sleep 1000'), limits: { wallTime: 0.3, killGrace: 1, output: 1000 } },
        'timeout',
        /ended after its wall time of 0.3 s/,
      ],
    ] as const)('fails a command that %s', async (_name, part, reason, message) => {
      const outcome = await run(part as Partial<ClaimedJob>);
      expect(outcome).toMatchObject({ state: 'failed', reason, message: expect.stringMatching(message) });
      if (reason !== 'spawn_error') expect(text(outcome.stdout)).toBe('why\n');
    });

    it('keeps the outputs of a command that failed', async () => {
      const job = await gateway.give({
        ...sh('echo 1 > result.csv; echo 2 > scratch.tmp; exit 1'),
        outputs: ['*.csv'],
      });
      expect(await gateway.outcomeOf(job)).toMatchObject({
        reason: 'exit_code',
        outputs: { files: 1, bytes: 2 },
        usage: { outputBytes: 2 },
      });
      const sha256 = createHash('sha256').update('1\n').digest('hex');
      expect(await listing(job)).toEqual([{ path: 'result.csv', size: 2, sha256 }]);
      const archive = gateway.uploads.get(`${job.jobId}/1/outputs.zip`)!;
      expect(archive.headers['content-length']).toBe(String(archive.body.length));
      const zip = await fromBufferPromise(archive.body);
      expect(zip.entryCount).toBe(1);
    });

    it('keeps of 100 MB what the limit allows, marks the cut, and lets the command go on', async () => {
      const limit = 10_000_000;
      const job = await gateway.give({
        ...sh('head -c 100000000 /dev/zero; echo done >&2; exit 4'),
        limits: { wallTime: 60, killGrace: 5, output: limit },
      });
      const outcome = await gateway.outcomeOf(job);
      expect(outcome).toMatchObject({
        reason: 'exit_code',
        exitCode: 4,
        stdout: { bytes: limit, cut: true, whole: false },
        stderr: { bytes: 5, cut: false, whole: true },
      });
      expect(Buffer.from(outcome.stdout.tail, 'base64')).toHaveLength(16 * 1024);
      expect(gateway.uploads.get(`${job.jobId}/1/stdout`)!.body).toHaveLength(limit);
      expect(gateway.uploads.has(`${job.jobId}/1/stderr`)).toBe(false);
    });

    it('ends a command that writes more than its limit where the queue says so', async () => {
      const outcome = await run({
        ...sh('while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done'),
        limits: { wallTime: 60, killGrace: 5, output: 1000 },
        onOutputLimit: 'fail',
      });
      expect(outcome).toMatchObject({
        state: 'failed',
        reason: 'output_limit',
        stdout: { bytes: 1000, cut: true },
      });
    });

    it('keeps 10,000 small files', async () => {
      const job = await gateway.give(
        sh('i=0; while [ $i -lt 10000 ]; do i=$((i+1)); echo $i > $i.txt; done'),
      );
      expect(await gateway.outcomeOf(job)).toMatchObject({ state: 'succeeded', outputs: { files: 10_000 } });
      expect(await listing(job)).toHaveLength(10_000);
    });

    it('ends the child that a command left behind', async () => {
      const outcome = await run(sh('sleep 1000 & echo $!'));
      expect(outcome.state).toBe('succeeded');
      expect(isRunning(text(outcome.stdout).trim())).toBe(false);
    });

    it('passes on the log and the progress of a running command', async () => {
      const job = await gateway.give(
        sh('echo started; echo "42 minimising" > $LABHAND_PROGRESS; read forever < /dev/tty || sleep 1000'),
      );
      await gateway.printed(job, 'started');
      const mark = await gateway.until(({ progress }) => progress.find(({ jobId }) => jobId === job.jobId));
      expect(mark).toMatchObject({ percent: 42, message: 'minimising' });
      await gateway.until(({ heartbeats }) =>
        heartbeats.find(({ attempts }) => attempts.some(({ jobId }) => jobId === job.jobId)),
      );
      await gateway.order('cancel', job, worker.id);
      await gateway.outcomeOf(job);
    });

    it('ends a canceled job, keeping its log and outputs', async () => {
      const job = await gateway.give(sh('echo kept > kept.txt; echo started; sleep 1000'));
      await gateway.printed(job, 'started');
      await gateway.order('cancel', job, worker.id);
      await gateway.order('cancel', job, worker.id);
      const outcome = await gateway.outcomeOf(job);
      expect(outcome).toMatchObject({ state: 'canceled', outputs: { files: 1 } });
      expect(outcome.reason).toBeUndefined();
      expect(text(outcome.stdout)).toBe('started\n');
    });

    it('ends an abandoned job and says nothing of it', async () => {
      const job = await gateway.give(sh('echo $$; sleep 1000'));
      await gateway.printed(job, '\n');
      await gateway.order('abandon', job, worker.id);
      await isAsBefore();
      expect(gateway.said.finished).toEqual([]);
      expect(gateway.said.lost).toEqual([]);
    });

    it('takes no notice of orders for what it does not hold', async () => {
      const job = await gateway.give({});
      await gateway.outcomeOf(job);
      await gateway.order('cancel', job, worker.id);
      await gateway.order('abandon', { ...job, attempt: 2 }, worker.id);
      expect((await run({})).state).toBe('succeeded');
    });

    it('uploads again while the gateway cannot take files', async () => {
      gateway.uploadFaults.push(503, 500, 429);
      const job = await gateway.give(sh('echo 1 > a'));
      expect(await gateway.outcomeOf(job)).toMatchObject({ state: 'succeeded', outputs: { files: 1 } });
      expect(await listing(job)).toHaveLength(1);
    });

    it('fails a job whose outputs the gateway refuses, and keeps its log', async () => {
      gateway.uploadFaults.push(413);
      const outcome = await run(sh('echo 1 > a; echo log'));
      expect(outcome).toMatchObject({
        state: 'failed',
        reason: 'output_error',
        message: expect.stringContaining('the gateway answered 413'),
        outputs: null,
      });
      expect(text(outcome.stdout)).toBe('log\n');
    });

    it('drops an attempt whose files token is no longer good', async () => {
      const go = join(folder, 'go');
      const script = 'echo started; until [ -e "$1" ]; do sleep 0.05; done; echo 1 > a';
      const stale = await gateway.give({ ...sh(script, go), filesToken: 'old' });
      await gateway.printed(stale, 'started');
      writeFileSync(go, '');
      await isAsBefore();
      expect(gateway.said.finished).toEqual([]);
    });

    it('reports an outcome until it is answered', async () => {
      let asked = 0;
      gateway.onFinished = async () => {
        if (++asked < 3) throw new Error('no answer, as the test wants it');
        return 'recorded';
      };
      await run({});
      expect(asked).toBe(3);
    });

    it('asks for its next job with a report, and takes the ticket of that job out of the queue', async () => {
      const go = join(folder, 'go');
      const slow = sh('until [ -e "$1" ]; do sleep 0.02; done', go);
      const jobs = [await gateway.give(slow), await gateway.give(slow)];
      // Two slots are busy: these wait.
      for (let more = 0; more < 3; more++) jobs.push(await gateway.give({}));
      await eventually(() => gateway.asked, 2);
      expect(await gateway.broker.depth(ticketsQueue('default'))).toBe(3);
      writeFileSync(go, '');
      for (const job of jobs) expect((await gateway.outcomeOf(job)).state).toBe('succeeded');
      const { finished } = gateway.said;
      expect(finished.map(({ next }) => next?.queue)).toEqual(Array(5).fill('default'));
      // Five jobs, and nothing twice when the reports found the queue empty: no ticket led anywhere.
      await eventually(() => gateway.broker.depth(ticketsQueue('default')), 0);
      await eventually(() => gateway.asked, 7);
      expect((await run({})).state).toBe('succeeded');
    });

    it('takes the job that a report brings when its attempt was abandoned meanwhile', async () => {
      const asked = gate();
      const answered = gate();
      gateway.onFinished = async () => {
        asked.open();
        await answered.opened;
        return 'refused';
      };
      const abandoned = await gateway.give(sh('true'));
      const slow = sh('until [ -e "$1" ]; do sleep 0.02; done', join(folder, 'go'));
      await gateway.give(slow);
      const next = await gateway.give({});
      await asked.opened;
      await gateway.order('abandon', abandoned, worker.id);
      await gateway.until(({ heartbeats }) => heartbeats.length || undefined);
      answered.open();
      expect((await gateway.outcomeOf(next)).state).toBe('succeeded');
      writeFileSync(join(folder, 'go'), '');
    });

    it('asks by itself for the next job, with the same id, when a report was answered without', async () => {
      const asked: (string | undefined)[] = [];
      gateway.onClaim = ({ claimId }) => asked.push(claimId);
      gateway.answersNext = false;
      const { next } = await run({}).then(() => gateway.said.finished.at(-1)!);
      await eventually(() => asked.length, 2);
      expect(asked[1]).toBe(next!.claimId);
      expect((await run({})).state).toBe('succeeded');
    });

    it('forgets an outcome that is refused', async () => {
      gateway.onFinished = async () => 'refused';
      await run(sh('echo 1 > a'));
    });

    it('gives no job what another one left, wherever it left it', async () => {
      const look = sh(
        'ls -A . "$HOME"; ls "$LABHAND_PROGRESS" 2>&1 | grep -c No; stat -c %a ..; chmod 700 .',
      );
      const leave = sh(
        'touch .hidden "$HOME/x"; echo 1 > $LABHAND_PROGRESS; chmod 500 . ..; chmod 0 /proc/self/fd/1',
      );
      for (const part of [leave, leave, look, look, look]) await gateway.outcomeOf(await gateway.give(part));
      const logs = gateway.said.finished.slice(2).map(({ outcome }) => text(outcome.stdout));
      expect(logs.map((log) => log.replace(/^.*:$/gm, '').trim())).toEqual(Array(3).fill('1\n700'));
    });
  });

  describe('with short jobs before a slot', () => {
    const exclusive = (script: string) =>
      sh(`mkdir "$1" || exit 9; ${script}; rmdir "$1"`, join(folder, 'running'));
    let given: number;
    const give = async (script: string, times = 1) => {
      for (let time = 0; time < times; time++) await gateway.give(exclusive(script));
      given += times;
    };
    /** All jobs but so many, be it by a report or by being handed back. */
    const areOver = (allBut = 0) =>
      gateway.until(({ finished, lost }) => finished.length + lost.length >= given - allBut || undefined);
    const exitCodes = () => new Set(gateway.said.finished.map(({ outcome }) => outcome.exitCode));

    beforeEach(async () => {
      given = 0;
      await started({ queues: { default: 1 } });
    });
    afterEach(isAsBefore);

    it('has several in hand and runs one at a time', async () => {
      const mostInHand = () => Math.max(0, ...gateway.said.heartbeats.map(({ attempts }) => attempts.length));
      while (mostInHand() < 2) {
        await give('true', 20);
        await areOver(10);
      }
      await areOver();
      expect(mostInHand()).toBeLessThanOrEqual(6);
      expect(exitCodes()).toEqual(new Set([0]));
      await eventually(() => gateway.broker.depth(ticketsQueue('default')), 0);
    });

    it('hands back what is in hand when one takes its time, and runs the others', async () => {
      while (gateway.said.lost.length === 0) {
        await give('true', 20);
        await give('sleep 1');
        await give('true', 5);
        await areOver();
      }
      const { lost, finished } = gateway.said;
      expect(new Set(lost.map(({ cause }) => cause))).toEqual(new Set(['no_turn']));
      expect(new Set([...lost, ...finished].map(({ jobId }) => jobId)).size).toBe(given);
      expect(exitCodes()).toEqual(new Set([0]));
    });
  });

  describe('with a slot that waits at the gateway', () => {
    const questions: string[] = [];
    /** Runs a job. @returns the claim that waits after it */
    const waitingClaim = async () => {
      const before = gateway.said.finished.length;
      await run({});
      const { next } = await gateway.until(({ finished }) => finished[before]);
      expect(next).toMatchObject({ mayWait: true });
      return next!;
    };

    beforeEach(async () => {
      questions.length = 0;
      gateway.onClaim = ({ claimId }) => questions.push(claimId);
      // Far longer than any test: what happens does not come from its end.
      gateway.waits = 600_000;
      await started();
    });
    afterEach(isAsBefore);

    it('runs what it is given, one job after the other', async () => {
      let next = await waitingClaim();
      for (let n = 0; n < 10; n++) {
        const job = gateway.made();
        await gateway.giveTo(next, worker.id, job);
        expect((await gateway.outcomeOf(job)).state).toBe('succeeded');
        next = gateway.said.finished.at(-1)!.next!;
        expect(next).toMatchObject({ mayWait: true });
      }
      expect(questions).toHaveLength(1);
      gateway.waits = undefined;
      await gateway.giveTo(next, worker.id, gateway.made());
    });

    it('leaves the other slots to tickets, of which none waits too', async () => {
      const next = await waitingClaim();
      expect((await run({})).state).toBe('succeeded');
      expect(gateway.said.finished.at(-1)!.next!.mayWait).toBeUndefined();
      gateway.waits = undefined;
      await gateway.giveTo(next, worker.id, gateway.made());
    });

    it.each([true, false])(
      'asks in the end, and goes by the answer: a job that came meanwhile (%s)',
      async (lasts) => {
        gateway.waits = 1;
        const asked = gate();
        const answered = gate();
        gateway.onClaim = async ({ claimId }) => {
          questions.push(claimId);
          if (questions.length !== 2) return;
          asked.open();
          await answered.opened;
        };
        const next = await waitingClaim();
        await asked.opened;
        expect(questions[1]).toBe(next.claimId);
        const job = gateway.made();
        await gateway.giveTo(next, worker.id, job, lasts);
        // Heard after it, by the same consumer.
        await gateway.order('cancel', job, worker.id);
        answered.open();
        if (lasts) expect((await gateway.outcomeOf(job)).state).toBe('succeeded');
        else
          expect(await gateway.until(({ lost }) => lost[0])).toMatchObject({
            jobId: job.jobId,
            cause: 'no_turn',
          });
        expect((await run({})).state).toBe('succeeded');
        const { finished, lost } = gateway.said;
        expect([...finished, ...lost].filter(({ jobId }) => jobId === job.jobId)).toHaveLength(1);
      },
    );

    it('hands back what comes when it has asked and got nothing', async () => {
      gateway.waits = 1;
      const next = await waitingClaim();
      await eventually(() => questions.length, 2);
      const { jobId } = gateway.made();
      // The slot is free again once it serves another ticket.
      for (let n = 0; n < 2; n++) await run({});
      await gateway.giveTo(next, worker.id, gateway.made({ jobId }));
      const [lost] = await gateway.until(({ lost }) => (lost.length > 0 ? lost : undefined));
      expect(lost).toEqual({ jobId, attempt: 1, workerId: worker.id, cause: 'no_turn' });
    });

    it('takes no notice of a job that it is given twice', async () => {
      const next = await waitingClaim();
      const job = gateway.made(sh('until [ -e "$1" ]; do sleep 0.02; done', join(folder, 'go')));
      await gateway.giveTo(next, worker.id, job);
      await gateway.giveTo(next, worker.id, job);
      gateway.waits = undefined;
      writeFileSync(join(folder, 'go'), '');
      expect((await gateway.outcomeOf(job)).state).toBe('succeeded');
      expect(gateway.said.lost).toEqual([]);
    });
  });

  it('never waits at the gateway with the only slot of a queue', async () => {
    gateway.waits = 600_000;
    await started({ queues: { default: 1 } });
    await run({});
    expect(gateway.said.finished.at(-1)!.next!.mayWait).toBeUndefined();
  });

  it('acks a ticket for which there is no job', async () => {
    await started();
    for (let extra = 0; extra < 5; extra++) await gateway.sendTicket('default');
    expect((await run({})).state).toBe('succeeded');
    const waiting = () => gateway.broker.depth(ticketsQueue('default'));
    await eventually(waiting, 0);
    // One that was not acked would be back when its consumer is gone.
    await worker.close();
    expect(await waiting()).toBe(0);
  });

  it('tells over HTTP that it lives and whether it is ready', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    await started({ healthPort: port });
    const statuses = ['live', 'ready', 'other'].map(async (path) => {
      const response = await fetch(`http://127.0.0.1:${port}/health/${path}`);
      await response.text();
      return response.status;
    });
    expect(await Promise.all(statuses)).toEqual([200, 200, 404]);
  });

  describe('that is told to stop', () => {
    it('lets running jobs end when they do so in time', async () => {
      await started();
      const job = await gateway.give(
        sh('echo started; until [ -e "$1" ]; do sleep 0.05; done', join(folder, 'go')),
      );
      await gateway.printed(job, 'started');
      const closed = worker.close();
      await gateway.until(({ heartbeats }) => heartbeats.find(({ draining }) => draining));
      const late = await gateway.give({});
      writeFileSync(join(folder, 'go'), '');
      await closed;
      expect((await gateway.outcomeOf(job)).state).toBe('succeeded');
      expect(gateway.said.finished.map(({ jobId }) => jobId)).not.toContain(late.jobId);
      expect(gateway.said.finished.map(({ next }) => next)).toEqual([undefined]);
      expect([...spooled(join(folder, 'state')), ...workspaces()]).toEqual([]);
    });

    it('hands back what does not end in time', async () => {
      await started({ drainTimeout: 0.2 });
      const job = await gateway.give(sh('echo started; sleep 1000'));
      await gateway.printed(job, 'started');
      await worker.close();
      expect(gateway.said.lost).toEqual([
        { jobId: job.jobId, attempt: 1, workerId: worker.id, cause: 'drain' },
      ]);
      expect(gateway.said.finished).toEqual([]);
      expect([...spooled(join(folder, 'state')), ...workspaces()]).toEqual([]);
    });

    it('hands back the job that a report brings when it is told to stop meanwhile', async () => {
      await started();
      let closed: Promise<void> | undefined;
      gateway.onFinished = async () => {
        closed = worker.close();
        await gateway.until(({ heartbeats }) => heartbeats.find(({ draining }) => draining));
        return 'recorded';
      };
      const go = join(folder, 'go');
      const slow = sh('until [ -e "$1" ]; do sleep 0.02; done', go);
      const first = await gateway.give(slow);
      const other = await gateway.give(sh('sleep 1000'));
      const next = await gateway.give({});
      await eventually(() => gateway.asked, 2);
      writeFileSync(go, '');
      await gateway.outcomeOf(first);
      await gateway.until(({ lost }) => lost.find(({ jobId }) => jobId === next.jobId));
      await gateway.order('cancel', other, worker.id);
      await closed;
      expect(gateway.said.lost).toEqual([
        { jobId: next.jobId, attempt: 1, workerId: worker.id, cause: 'drain' },
      ]);
    });

    it('hands back what a waiting slot is given when it is told to stop meanwhile', async () => {
      await started();
      gateway.waits = 600_000;
      await run({});
      const { next } = gateway.said.finished[0]!;
      const closed = worker.close();
      await gateway.until(({ heartbeats }) => heartbeats.find(({ draining }) => draining));
      const job = gateway.made();
      await gateway.giveTo(next!, worker.id, job);
      await closed;
      expect(gateway.said.lost).toMatchObject([{ jobId: job.jobId, cause: 'drain' }]);
    });

    it('waits no longer when told again', async () => {
      await started({ drainTimeout: 10_000 });
      const job = await gateway.give(sh('trap "" TERM; echo started; while :; do sleep 1; done'));
      await gateway.printed(job, 'started');
      const closed = worker.close();
      await gateway.until(({ heartbeats }) => heartbeats.find(({ draining }) => draining));
      worker.hurry();
      await closed;
      expect(gateway.said.lost).toMatchObject([{ cause: 'drain' }]);
    });

    it('hands back what is killed while the broker still has to be told to send no more', async () => {
      await started({ drainTimeout: 10_000 });
      const job = await gateway.give(sh('echo started; sleep 1000'));
      await gateway.printed(job, 'started');
      worker.hurry();
      await worker.close();
      expect(gateway.said.lost).toMatchObject([{ cause: 'drain' }]);
      expect(gateway.said.finished).toEqual([]);
    });

    it('stops while it still waits for the gateway', async () => {
      const alone = new FakeGateway();
      await gateway.close();
      gateway = alone;
      await gateway.start();
      gateway.onRegister = () => new Promise(() => {});
      await put();
      const starting = worker.start();
      await worker.close();
      await starting;
    });
  });

  describe('that retires', () => {
    it('takes as many jobs as it was started for, lets them end, and leaves the tickets of others', async () => {
      await started({ maxJobs: 2, queues: { default: 3, other: 2 } });
      const jobs = [
        await gateway.give(sh('sleep 0.5')),
        await gateway.give({ ...sh('true'), queue: 'other' }),
      ];
      for (const job of jobs) expect((await gateway.outcomeOf(job)).state).toBe('succeeded');
      await worker.retired;
      await worker.leave();
      await gateway.give({});
      expect(await gateway.broker.depth(ticketsQueue('default'))).toBe(1);
      expect(gateway.said.lost).toEqual([]);
      expect(gateway.said.finished.map(({ next }) => next)).toEqual([undefined, undefined]);
    });

    it('does not count a ticket without a job', async () => {
      await started({ maxJobs: 1 });
      for (let n = 0; n < 3; n++) await gateway.sendTicket('default');
      expect((await run({})).state).toBe('succeeded');
      await worker.retired;
    });

    it('hands back its last job when that comes too late, and asks for no other one', async () => {
      const [asked, answer] = [gate(), gate()];
      gateway.onClaim = () => (asked.open(), answer.opened);
      await started({ maxJobs: 1, queues: { default: 3 } });
      const first = await gateway.give({});
      await gateway.give({});
      await asked.opened;
      const closed = worker.close();
      await gateway.until(({ heartbeats }) => heartbeats.find(({ draining }) => draining));
      answer.open();
      await closed;
      expect(gateway.said.lost.map(({ jobId }) => jobId)).toEqual([first.jobId]);
      expect(gateway.asked).toBe(1);
      expect(await gateway.broker.depth(ticketsQueue('default'))).toBe(1);
    });

    it('gives its last job the time that it needs, but not against a signal', async () => {
      await started({ maxJobs: 1, drainTimeout: 0.1 });
      const job = await gateway.give(sh('echo begun; sleep 600'));
      await gateway.printed(job, 'begun');
      await worker.retired;
      const leaving = worker.leave();
      await worker.close();
      await leaving;
      expect(gateway.said.lost[0]).toMatchObject({ jobId: job.jobId, cause: 'drain' });
    });

    it('stops when it had nothing to do for a while, and not before', async () => {
      await started({ idleTimeout: 0.3 });
      const job = await gateway.give(sh('sleep 0.6'));
      await Promise.race([
        gateway.outcomeOf(job),
        worker.retired.then(() => Promise.reject(new Error('busy'))),
      ]);
      await worker.retired;
    });
  });

  it('refuses the state directory of another one that lives', async () => {
    await started();
    const first = worker;
    await expect(put()).rejects.toThrow(`Another worker, process ${process.pid}, keeps its state in`);
    expect(worker).toBe(first);
  });

  describe('that starts on what its last run left', () => {
    it('kills what still runs of its attempts', async () => {
      const jobId = randomUUID();
      new Spool(join(folder, 'state')).open(`${jobId}-3`);
      const left = (attempt: string) =>
        spawn('sleep', ['600'], {
          env: { LABHAND_JOB_ID: jobId, LABHAND_ATTEMPT: attempt, PATH: process.env.PATH },
        });
      const [dead, another] = [left('3'), left('4')];
      const gone = once(dead, 'exit');
      await started();
      expect(await gone).toEqual([null, 'SIGKILL']);
      await gateway.until((said) => said.lost[0]);
      expect(another.signalCode).toBeNull();
      another.kill('SIGKILL');
    });

    it('is the same worker', async () => {
      await started();
      const { id } = worker;
      await worker.close();
      await started();
      expect(worker.id).toBe(id);
    });

    it.each([
      ['with files', 'echo 1 > a; echo log', 1],
      ['without', 'echo log', 0],
    ])('sends again what was not recorded, %s', async (_name, script, files) => {
      await started({ drainTimeout: 0.2 });
      let reached: () => void;
      const reporting = new Promise<void>((resolve) => (reached = resolve));
      gateway.onFinished = () => {
        reached();
        return new Promise(() => {});
      };
      const job = await gateway.give(sh(script));
      await reporting;
      await worker.close();
      expect(spooled(join(folder, 'state'))).toEqual([`${job.jobId}-1`]);
      expect(gateway.said.lost).toEqual([]);
      gateway.uploads.clear();

      gateway.onFinished = async () => 'recorded';
      await started();
      const outcome = await gateway.outcomeOf(job);
      expect(outcome.state).toBe('succeeded');
      expect(outcome.outputs?.files ?? 0).toBe(files);
      expect(text(outcome.stdout)).toBe('log\n');
      if (files > 0) expect(await listing(job)).toHaveLength(files);
      await isAsBefore();
    });

    it('reports the attempts that died with it, and clears their workspaces', async () => {
      const key = '00000000-0000-4000-8000-000000000001-3';
      for (const path of ['work/w1.7/work/locked', 'work/w2.1', 'work/w1.x']) {
        mkdirSync(join(folder, path), { recursive: true });
      }
      const files = new Spool(join(folder, 'state')).open(key);
      writeFileSync(files.stdout, 'half');
      writeFileSync(files.path('outcome.json'), '{"torn');
      await started({ workerId: 'w1' });
      const lost = await gateway.until((said) => said.lost[0]);
      expect(lost).toEqual({
        jobId: '00000000-0000-4000-8000-000000000001',
        attempt: 3,
        workerId: worker.id,
        cause: 'worker_died',
      });
      await worker.close();
      expect(spooled(join(folder, 'state'))).toEqual([]);
      expect(workspaces()).toEqual(['w1.x', 'w2.1']);
    });
  });
});
