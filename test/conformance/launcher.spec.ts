import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildSync } from 'esbuild';
import type { Requirement } from '#shared/job/requirements.js';
import { findCapabilities, type Found } from '#worker/capabilities.js';
import { startLauncher } from '#worker/launcher-client.js';
import { LaunchOrder, Launcher, LauncherDiedError, LaunchResult } from '#worker/launcher.js';

// What the two launchers, the C one and the Node one, have in common; what only one can do hangs on the capability
// that it declares.

const root = resolve(__dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'labhand-launcher-'));
const nodeProgram = join(folder, 'node-launcher.cjs');
const clientProgram = join(folder, 'client.cjs');
const nativeProgram = join(folder, 'labhand-launcher');
const escape = join(folder, 'escape');

const hasCompiler = ['cc', 'gcc', 'clang'].some((name) => spawnSync(name, ['--version']).status === 0);
if (!hasCompiler) console.log('There is no C compiler here: only the Node launcher is tested.');
const kinds = hasCompiler ? (['native', 'node'] as const) : (['node'] as const);

const PATH = '/usr/local/bin:/usr/bin:/bin';
const warnings: string[] = [];
const logger = { warn: (message: string) => void warnings.push(message) };

beforeAll(() => {
  // A job with a user of its own has to come through.
  chmodSync(folder, 0o711);
  const common = { bundle: true, platform: 'node', format: 'cjs' } as const;
  buildSync({
    ...common,
    entryPoints: [join(root, 'apps/worker/src/node-launcher.ts')],
    outfile: nodeProgram,
  });
  buildSync({
    ...common,
    entryPoints: [join(root, 'apps/worker/src/launcher-client.ts')],
    outfile: clientProgram,
  });
  if (!hasCompiler) return;
  run(process.execPath, [join(root, 'apps/worker/launcher/build.mjs'), nativeProgram]);
  run('cc', ['-O2', '-pthread', '-o', escape, join(__dirname, 'escape.c')]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, args: string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`);
}

function options(kind: 'native' | 'node') {
  return { native: kind === 'native' ? nativeProgram : undefined, nodeProgram, logger };
}

function newOrder(command: readonly string[], more: Partial<LaunchOrder> = {}): LaunchOrder {
  const id = randomUUID();
  const directory = join(folder, id);
  mkdirSync(directory);
  return {
    id,
    command,
    env: { PATH, LABHAND_JOB_ID: id },
    directory,
    stdout: join(directory, 'out'),
    stderr: join(directory, 'err'),
    record: join(directory, 'record.json'),
    wallTime: 0,
    killGrace: 10,
    ...more,
  };
}

const shell = (script: string, more: Partial<LaunchOrder> = {}) =>
  newOrder(['/bin/sh', '-c', script, 'job'], more);
const output = (order: LaunchOrder) => readFileSync(order.stdout, 'utf8');
const record = (order: LaunchOrder) => JSON.parse(readFileSync(recordOf(order), 'utf8')) as LaunchResult;
const recordOf = (order: LaunchOrder) => order.record ?? '';

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(5);
}

const saysReady = (order: LaunchOrder) =>
  until(() => existsSync(order.stdout) && output(order).includes('ready\n'));

/** Processes that have the text among their arguments; the dead that nobody waited for have none. */
function processesWith(text: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  });
}

/** The order with a folder that it may write to beside one, or the way to one, that is hidden from it. */
function confined(order: LaunchOrder, way = 'hidden'): LaunchOrder {
  const [inside, hidden] = [join(order.directory, 'inside'), join(order.directory, way)];
  for (const each of [inside, hidden]) mkdirSync(each, { recursive: true });
  return { ...order, directory: inside, record: undefined, writable: [inside], hidden: [hidden] };
}

/** Whether any process has it open. */
function isOpen(path: string): boolean {
  return processesWith('').some((pid) => openFiles(pid).includes(path));
}

/** Of one that ends meanwhile, what can still be seen. */
function openFiles(pid: string): string[] {
  const folder = join('/proc', pid, 'fd');
  const targetOf = (fd: string) => {
    try {
      return readlinkSync(join(folder, fd));
    } catch {
      return '';
    }
  };
  try {
    return readdirSync(folder).map(targetOf);
  } catch {
    return [];
  }
}

describe.each(kinds)('the %s launcher', (kind) => {
  let launcher: Launcher;
  let found: Found;

  beforeAll(async () => {
    launcher = await startLauncher(options(kind));
    found = await findCapabilities(launcher, join(folder, 'probes'), 'worker');
  });

  afterAll(() => launcher.close());

  const enforces = (word: Requirement) => found.capabilities.enforces.split(' ').includes(word);
  const launch = (order: LaunchOrder) => launcher.start(order).ended;

  it('is the one that was asked for', () => {
    console.log(`Of the ${kind} launcher the probes show: ${found.capabilities.enforces}`);
    expect(launcher.kind).toBe(kind);
    expect(launcher.capabilities).toMatchObject({ sureEnd: kind === 'native' });
  });

  describe('tells how a job ended', () => {
    it('by its exit code', async () => {
      const order = shell('exit 7');
      const result = await launch(order);
      expect(result).toMatchObject({ cause: 'exit', exitCode: 7 });
      expect(result.signal).toBeUndefined();
      expect(result.error).toBeUndefined();
      expect(result.wallSeconds).toBeGreaterThan(0);
      expect(Date.parse(result.finishedAt)).toBeGreaterThanOrEqual(Date.parse(result.startedAt));
      expect(result.startedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    });

    it('by the signal it died of', async () => {
      const result = await launch(shell('kill -SEGV $$'));
      expect(result).toMatchObject({ cause: 'exit', signal: 'SIGSEGV' });
      expect(result.exitCode).toBeUndefined();
    });

    it('in a record that says what the answer said', async () => {
      const order = shell('exit 3');
      const result = await launch(order);
      expect(record(order)).toEqual(result);
      expect(existsSync(`${recordOf(order)}.tmp`)).toBe(false);
    });

    it('without a record where none is asked for', async () => {
      const order = shell('exit 3', { record: undefined });
      expect(await launch(order)).toMatchObject({ cause: 'exit', exitCode: 3 });
      expect(readdirSync(order.directory).sort()).toEqual(['err', 'out']);
    });
  });

  describe('says why a job could not be started:', () => {
    const refused = async (order: LaunchOrder, error: RegExp) => {
      const result = await launch(order);
      expect(result.cause).toBe('spawn_error');
      expect(result.error).toMatch(error);
      expect(result.exitCode).toBeUndefined();
      expect(record(order)).toEqual(result);
    };

    it('no such program', () => refused(newOrder(['no-such-program']), /no-such-program.*: ENOENT$/));
    it('no such program, though a folder of PATH cannot be searched', async () => {
      const order = newOrder(['no-such-program']);
      const closed = join(order.directory, 'closed');
      mkdirSync(closed, 0o600);
      // Nor what lies in a file, for root.
      await refused({ ...order, env: { PATH: `${closed}:/root:/etc/passwd:${PATH}` } }, /: ENOENT$/);
    });
    it('a program of PATH that may not be executed', async () => {
      const order = newOrder(['plain']);
      writeFileSync(join(order.directory, 'plain'), '', { mode: 0o644 });
      await refused({ ...order, env: { PATH: `${order.directory}:/no/such` } }, /plain.*: EACCES$/);
    });
    it('no such path', () => refused(newOrder(['/no/such/program']), /\/no\/such\/program.*: ENOENT$/));
    it('an empty name', () => refused(newOrder(['']), /: ENOENT$/));
    it('no such directory', () =>
      refused(newOrder(['/bin/true'], { directory: '/no/such' }), /directory \/no\/such .*: ENOENT$/));
    it('a directory that is a file', () =>
      refused(newOrder(['/bin/true'], { directory: '/etc/passwd' }), /directory \/etc\/passwd .*: ENOTDIR$/));
    it('an output file that cannot be opened', () =>
      refused(
        newOrder(['/bin/true'], { stdout: '/no/such/out' }),
        /output file \/no\/such\/out .*: ENOENT$/,
      ));
    it('an argument longer than the system takes', () =>
      refused(newOrder(['/bin/true', 'x'.repeat(3_000_000)]), /: E2BIG$/));

    it('a file that is not executable', async () => {
      const order = newOrder(['./plain']);
      writeFileSync(join(order.directory, 'plain'), '#!/bin/sh\n', { mode: 0o644 });
      await refused(order, /\.\/plain.*: EACCES$/);
    });

    it('an empty command and a NUL character, which no record is left of', async () => {
      expect((await launch(newOrder([]))).error).toMatch(/EINVAL$/);
      expect((await launch(newOrder(['/bin/echo', 'a\0b']))).error).toMatch(/EINVAL$/);
      expect((await launch(newOrder(['/bin/echo', 'x'.repeat(17_000_000)]))).error).toMatch(/E2BIG$/);
    });

    it('a field of the order that it does not know, since that may be a limit', async () => {
      const order = newOrder(['/bin/true']);
      const fields = ['start', `id=${order.id}`, `record=${order.record}`, 'gpus=5', 'arg=/bin/true'];
      const answers = await speak(kind, [frame(fields)]);
      expect(answers).toContainEqual(expect.objectContaining({ answer: 'ended', id: order.id }));
      expect(record(order)).toMatchObject({
        cause: 'spawn_error',
        error: expect.stringMatching(/gpus.*EINVAL$/),
      });
    });
  });

  describe('gives the job', () => {
    it('its arguments, whatever is in them', async () => {
      const args = ['a b', 'c\nd', '', 'é 東京 🙂', '"\'\\$HOME', '--', 'x=y', 'e'.repeat(100_000)];
      const order = newOrder(['/usr/bin/printf', '%s\\n--\\n', ...args]);
      await launch(order);
      expect(output(order)).toBe(args.map((arg) => `${arg}\n--\n`).join(''));
    });

    it('its environment and nothing else', async () => {
      const env = { PATH, EMPTY: '', A: 'x=y\nz', UNICODE: 'é東' };
      const order = newOrder(['env', '-0'], { env });
      await launch(order);
      const got = output(order).split('\0').filter(Boolean).sort();
      expect(got).toEqual([`PATH=${PATH}`, 'EMPTY=', 'A=x=y\nz', 'UNICODE=é東'].sort());
    });

    it('an empty environment where it has none', async () => {
      const order = newOrder(['/usr/bin/env'], { env: {} });
      expect(await launch(order)).toMatchObject({ exitCode: 0 });
      expect(output(order)).toBe('');
    });

    it('the program that its own PATH finds', async () => {
      const order = newOrder(['hello']);
      const bin = join(order.directory, 'bin');
      mkdirSync(bin);
      writeFileSync(join(bin, 'hello'), '#!/bin/sh\necho found\n', { mode: 0o755 });
      await launch({ ...order, env: { PATH: `/no/such:/etc/passwd:${bin}:/bin` } });
      expect(output(order)).toBe('found\n');
    });

    it('/bin/sh for a script that names no interpreter', async () => {
      const order = newOrder(['./script', 'with', 'a b']);
      writeFileSync(join(order.directory, 'script'), 'echo "$# $2"\n', { mode: 0o755 });
      expect(await launch(order)).toMatchObject({ exitCode: 0 });
      expect(output(order)).toBe('2 a b\n');
    });

    it('its working directory', async () => {
      const order = newOrder(['/bin/pwd']);
      await launch(order);
      expect(output(order)).toBe(`${realpathSync(order.directory)}\n`);
    });

    it('an empty stdin', async () => {
      const order = newOrder(['/bin/cat']);
      expect(await launch(order)).toMatchObject({ exitCode: 0 });
      expect(output(order)).toBe('');
    });

    it('files for stdout and stderr, apart, added to, and for nobody else to read', async () => {
      const order = shell('echo out; echo err >&2; umask; touch made');
      writeFileSync(order.stdout, 'before\n');
      await launch(order);
      expect(output(order)).toBe('before\nout\n0077\n');
      expect(readFileSync(order.stderr, 'utf8')).toBe('err\n');
      expect(statSync(order.stderr).mode & 0o777).toBe(0o600);
      expect(statSync(join(order.directory, 'made')).mode & 0o777).toBe(0o600);
    });

    it('as much output as it likes', async () => {
      const order = shell('head -c 104857600 /dev/zero');
      expect(await launch(order)).toMatchObject({ exitCode: 0 });
      expect(statSync(order.stdout).size).toBe(104_857_600);
      rmSync(order.stdout);
    });

    it('no descriptor but its own three, where it says so', async () => {
      const order = shell('ls /proc/$$/fd');
      await speak(kind, [frame(startFields(order))], () => existsSync(recordOf(order)));
      const closes = launcher.capabilities['closesDescriptors'] === true;
      expect(output(order).split('\n').slice(0, 3)).toEqual(['0', '1', '2']);
      if (closes) expect(output(order)).toBe('0\n1\n2\n');
    });

    it('no signal ignored or held back', async () => {
      const order = newOrder(['/bin/grep', '-E', '^Sig(Blk|Ign)', '/proc/self/status']);
      await launch(order);
      expect(output(order)).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n');
    });

    it('a group and a session of its own', async () => {
      const order = newOrder(['/usr/bin/cut', '-d ', '-f1,5,6', '/proc/self/stat']);
      await launch(order);
      expect(new Set(output(order).trim().split(' ')).size).toBe(1);
    });

    it('no way to more privileges, where it says so', async () => {
      const order = shell('grep NoNewPrivs /proc/self/status');
      await launch(order);
      expect(output(order)).toBe(
        `NoNewPrivs:\t${launcher.capabilities['noNewPrivileges'] === true ? 1 : 0}\n`,
      );
    });
  });

  describe('ends a job', () => {
    const STUBBORN = 'trap "" TERM; echo ready; while :; do sleep 0.1; done';

    it('that outlives its wall time, and kills it when it ignores TERM', async () => {
      const result = await launch(shell(STUBBORN, { wallTime: 0.2, killGrace: 0.1 }));
      expect(result).toMatchObject({ cause: 'timeout', signal: 'SIGKILL' });
      expect(result.wallSeconds).toBeGreaterThanOrEqual(0.3);
    });

    it('with TERM, which it may answer as it likes', async () => {
      const order = shell('trap "exit 3" TERM; echo ready; while :; do sleep 0.01; done');
      const tree = launcher.start(order);
      await saysReady(order);
      tree.end();
      tree.end();
      expect(await tree.ended).toMatchObject({ cause: 'ended', exitCode: 3 });
      tree.end();
      tree.kill();
    });

    it('with KILL after the grace time', async () => {
      const order = shell(STUBBORN, { killGrace: 0.1 });
      const tree = launcher.start(order);
      await saysReady(order);
      tree.end();
      expect(await tree.ended).toMatchObject({ cause: 'ended', signal: 'SIGKILL' });
    });

    it('at once when it is to be killed, even within its grace time', async () => {
      const order = shell(STUBBORN, { killGrace: 1000 });
      const tree = launcher.start(order);
      await saysReady(order);
      tree.end();
      tree.kill();
      expect(await tree.ended).toMatchObject({ cause: 'ended', signal: 'SIGKILL' });
    });

    it('in the order in which it was told, even before it runs', async () => {
      const tree = launcher.start(newOrder(['/bin/sleep', '1000']));
      tree.kill();
      expect(await tree.ended).toMatchObject({ cause: 'ended', signal: 'SIGKILL' });
    });

    it('that is stopped', async () => {
      const order = shell('trap "exit 4" TERM; echo $$ ready; kill -STOP $$; sleep 1000');
      const tree = launcher.start(order);
      await saysReady(order);
      const pid = output(order).split(' ')[0];
      await until(() => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '));
      tree.end();
      expect(await tree.ended).toMatchObject({ cause: 'ended', exitCode: 4 });
    });

    it('to its last process, which has its grace time after the main one died', async () => {
      const child = 'trap "sleep 0.3; echo saved; exit" TERM; echo ready; while :; do sleep 0.01; done';
      const order = shell(`sh -c '${child}' & wait`);
      const tree = launcher.start(order);
      await saysReady(order);
      tree.end();
      expect(await tree.ended).toMatchObject({ cause: 'ended', signal: 'SIGTERM' });
      expect(output(order)).toBe('ready\nsaved\n');
    });
  });

  describe('pauses a job', () => {
    /** The state of each process that has the tag, such as T for stopped. */
    const states = (tag: string) =>
      processesWith(tag).map((pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) (.).*/s, '$1'));
    /** A process and one in a session of its own, that count for ever. */
    const counting = (tag: string, more: Partial<LaunchOrder> = {}) =>
      newOrder(
        [
          '/bin/sh',
          '-c',
          `setsid sh -c 'while :; do echo b >> b; sleep 0.01; done' ${tag} &
           while :; do echo ready; sleep 0.01; done`,
          tag,
        ],
        more,
      );
    const size = (file: string) => (existsSync(file) ? statSync(file).size : 0);

    it('to its last process, and lets it go on', async () => {
      const tag = randomUUID();
      const order = counting(tag);
      const tree = launcher.start(order);
      const files = [order.stdout, join(order.directory, 'b')];
      await until(() => files.every((file) => size(file) > 0));
      expect(await tree.pause()).toBe(true);
      expect(states(tag).length).toBeGreaterThanOrEqual(2);
      // A shell that waits for its child to become a program is as still, in the kernel.
      expect(states(tag).every((state) => state === 'T' || state === 'D')).toBe(true);
      const sizes = files.map(size);
      expect(await tree.pause()).toBe(true);
      await delay(50);
      expect(files.map(size)).toEqual(sizes);
      expect(await tree.resume()).toBe(true);
      expect(await tree.resume()).toBe(true);
      await until(() => files.every((file, i) => size(file) > (sizes[i] ?? 0)));
      tree.end();
      const result = await tree.ended;
      expect(result.pausedSeconds).toBeGreaterThanOrEqual(0.05);
      expect(result.wallSeconds).toBeGreaterThan(result.pausedSeconds ?? Infinity);
      expect(await tree.pause()).toBe(false);
    });

    it('whose wall time and idle time then stand still', async () => {
      const order = shell('echo ready; sleep 1000', { wallTime: 1, idleTime: 1 });
      const tree = launcher.start(order);
      await saysReady(order);
      expect(await tree.pause()).toBe(true);
      await delay(1200);
      expect(await tree.resume()).toBe(true);
      const result = await tree.ended;
      expect(['timeout', 'idle']).toContain(result.cause);
      expect(result.pausedSeconds).toBeGreaterThanOrEqual(1.2);
      expect(result.wallSeconds).toBeGreaterThanOrEqual(2.2);
    });

    it('and ends it as any other', async () => {
      const tag = randomUUID();
      const order = shell(`trap "exit 3" TERM; sh -c 'sleep 1000; :' ${tag} & echo ready; wait`);
      const tree = launcher.start(order);
      await saysReady(order);
      await until(() => processesWith(tag).length > 0);
      await tree.pause();
      tree.end();
      expect(await tree.ended).toMatchObject({ cause: 'ended', exitCode: 3 });
      expect(processesWith(tag)).toEqual([]);
    });

    it('and kills it as any other', async () => {
      const tag = randomUUID();
      const order = counting(tag, { killGrace: 1000 });
      const tree = launcher.start(order);
      await saysReady(order);
      await tree.pause();
      tree.kill();
      expect(await tree.ended).toMatchObject({ cause: 'ended', signal: 'SIGKILL' });
      expect(processesWith(tag)).toEqual([]);
    });

    it('and resumes it in the order in which it was told', async () => {
      const order = shell('while :; do echo ready; sleep 0.01; done');
      const tree = launcher.start(order);
      await saysReady(order);
      const answers = await Promise.all([tree.pause(), tree.resume(), tree.pause(), tree.resume()]);
      expect(answers[3]).toBe(true);
      const before = size(order.stdout);
      await until(() => size(order.stdout) > before);
      tree.kill();
      await tree.ended;
    });
  });

  describe('passes a signal', () => {
    const CATCHES = `trap 'echo main; [ -e again ] && exit 6' USR1
      sh -c 'trap "echo child; touch child; exit" USR1; touch up; while :; do sleep 0.01; done' &
      while [ ! -e up ]; do sleep 0.01; done; echo ready; while :; do sleep 0.01; done`;

    it('to the main process alone', async () => {
      const order = shell(CATCHES);
      const tree = launcher.start(order);
      await saysReady(order);
      tree.signal('SIGUSR1', 'main');
      await until(() => output(order).includes('main'));
      expect(output(order)).toBe('ready\nmain\n');
      tree.signal('SIGNONE', 'main');
      tree.signal('SIGKILL', 'main');
      expect(await tree.ended).toMatchObject({ cause: 'exit', signal: 'SIGKILL' });
    });

    it('to its group', async () => {
      const order = shell(CATCHES);
      const tree = launcher.start(order);
      await saysReady(order);
      tree.signal('SIGUSR1', 'group');
      await until(() => output(order).includes('main') && existsSync(join(order.directory, 'child')));
      writeFileSync(join(order.directory, 'again'), '');
      tree.signal('SIGUSR1', 'main');
      expect(await tree.ended).toMatchObject({ cause: 'exit', exitCode: 6 });
      expect(output(order).split('\n')).toContain('main');
    });
  });

  describe('limits a job', () => {
    it('that is silent for longer than its idle time', async () => {
      const order = shell(
        'echo ready; sleep 0.1; echo on >&2; trap "exit 5" TERM; while :; do sleep 0.01; done',
        {
          idleTime: 0.3,
        },
      );
      const result = await launch(order);
      expect(result).toMatchObject({ cause: 'idle', exitCode: 5 });
      expect(result.wallSeconds).toBeGreaterThanOrEqual(0.4);
    });

    it('that goes on saying something, by nothing', async () => {
      const result = await launch(
        shell('for i in 1 2 3 4 5 6 7 8; do echo on; sleep 0.2; done', { idleTime: 1.5 }),
      );
      expect(result).toMatchObject({ cause: 'exit', exitCode: 0 });
    });

    it('that fills its folders beyond its disk limit, however it spreads and links the files', async () => {
      const order =
        shell(`mkdir -p deep/er; for i in 1 2 3 4 5 6 7 8; do head -c 300000 /dev/zero > deep/er/$i; done
        sleep 1000`);
      const disk = { writable: [order.directory], disk: 2_000_000 };
      expect(await launch({ ...order, ...disk })).toMatchObject({ cause: 'disk' });
      const links = shell(
        `head -c 1000000 /dev/zero > file; for i in 1 2 3 4 5; do ln file $i; done; sleep 0.5`,
      );
      const same = { writable: [links.directory], disk: 2_000_000 };
      expect(await launch({ ...links, ...same })).toMatchObject({ cause: 'exit', exitCode: 0 });
    });

    if (kind === 'node') {
      it('by nothing that it cannot enforce: it does not run the job', async () => {
        for (const limit of [
          { memory: 1 },
          { cpu: 1 },
          { openFiles: 9 },
          { network: false },
          { isolation: 'process' },
        ] as const) {
          const result = await launch(newOrder(['/bin/true'], limit));
          expect(result).toMatchObject({
            cause: 'spawn_error',
            error: expect.stringMatching(`${Object.keys(limit)[0]}.*EINVAL`),
          });
        }
      });
    } else {
      it('that opens too many files', async () => {
        const order = shell('exec 3< /dev/null; echo one; exec 4< /dev/null; echo two', { openFiles: 4 });
        const hidden = join(order.directory, 'hidden');
        mkdirSync(hidden);
        expect((await launch({ ...order, hidden: [hidden] })).exitCode).not.toBe(0);
        expect(output(order)).toBe('one\n');
      });

      it('that writes too large a file', async () => {
        const order = newOrder(['/bin/dd', 'if=/dev/zero', 'of=file', 'bs=1000', 'count=1000'], {
          fileSize: 500_000,
        });
        expect(await launch(order)).toMatchObject({ cause: 'exit', signal: 'SIGXFSZ' });
        expect(statSync(join(order.directory, 'file')).size).toBe(500_000);
      });

      it('that takes too much memory', async () => {
        const order = newOrder(['/bin/dd', 'if=/dev/zero', 'of=/dev/null', 'bs=200M', 'count=1'], {
          memory: 50_000_000,
        });
        const { cause, exitCode } = await launch(order);
        expect(cause === 'out_of_memory' || (cause === 'exit' && exitCode !== 0)).toBe(true);
      });

      it('that opens a socket beyond the machine where its network is off', async () => {
        const place = (order: LaunchOrder) => ({ ...order, command: [nativeProgram, 'probe', 'sockets'] });
        const [on, off] = [place(shell('')), place(shell('', { network: false }))];
        await Promise.all([launch(on), launch(off)]);
        expect(output(on).split('\n')).toEqual(expect.arrayContaining(['unix', 'tcp', 'udp']));
        expect(output(off)).toBe('unix\n');
      });

      it('that needs a number that is none, by not running it', async () => {
        const order = shell('');
        const fields = ['start', `id=${order.id}`, `record=${order.record}`, 'memory=much', 'arg=/bin/true'];
        await speak(kind, [frame(fields)]);
        expect(record(order)).toMatchObject({ error: expect.stringMatching(/memory=much.*EINVAL$/) });
      });

      it('to what is writable, and keeps what is hidden from it, but gives it its output', async () => {
        const all = shell(
          `echo in > in; echo out > ../out; cat ../hidden/secret; echo told > /dev/stderr; echo ready`,
        );
        const order = confined(all);
        const inHidden = (name: string) => join(all.directory, 'hidden', name);
        writeFileSync(inHidden('secret'), 'secret', { mode: 0o600 });
        const logs = { stdout: inHidden('stdout'), stderr: inHidden('stderr') };
        const result = await launch({ ...order, ...logs, uid: found.firstUser });
        expect(result).toMatchObject({ cause: 'exit', exitCode: 0 });
        const confines = enforces('isolation:process');
        expect(readFileSync(logs.stdout, 'utf8')).toBe(confines ? 'ready\n' : 'secretready\n');
        expect(readFileSync(logs.stderr, 'utf8')).toContain('told');
        expect(existsSync(join(order.directory, 'in'))).toBe(true);
        expect(existsSync(join(all.directory, 'out'))).toBe(!confines);
      });

      it('and lets it read what came into the folders on the way since the last job', async () => {
        const all = shell('cat ../came 2> /dev/null; cat ../came-too 2> /dev/null; echo read');
        const order = confined(all);
        const outputs: string[] = [];
        for (const name of ['none', 'came', 'came-too']) {
          writeFileSync(join(all.directory, name), `${name}\n`);
          const stdout = join(all.directory, 'hidden', name);
          await launch({ ...order, stdout });
          outputs.push(readFileSync(stdout, 'utf8'));
        }
        expect(outputs).toEqual(['read\n', 'came\nread\n', 'came\ncame-too\nread\n']);
      });

      it('and keeps it from what is hidden also when the way there has become a link', async () => {
        const all = shell('cat ../way/hidden/secret ../moved/hidden/secret 2> /dev/null; echo read');
        const order = confined(all, 'way/hidden');
        const way = join(all.directory, 'way');
        writeFileSync(join(way, 'hidden', 'secret'), 'secret');
        const read = async () => {
          rmSync(order.stdout, { force: true });
          await launch(order);
          return readFileSync(order.stdout, 'utf8');
        };
        const expected = enforces('isolation:process') ? 'read\n' : 'secretread\n';
        for (let before = 0; before < 3; before++) expect(await read()).toBe(expected);
        renameSync(way, join(all.directory, 'moved'));
        symlinkSync('moved', way);
        expect(await read()).toBe(enforces('isolation:process') ? 'read\n' : 'secretsecretread\n');
      });

      it('and keeps nothing open for long that lies beside what is hidden', async () => {
        const all = newOrder([]);
        const beside = join(all.directory, 'beside');
        writeFileSync(beside, '');
        const order = confined(all);
        const command = (...words: string[]) => ({ ...order, id: randomUUID(), command: words });
        await Promise.all([launch(command('sleep', '0.1')), launch(command('sleep', '0.1'))]);
        const [long, short] = [launcher.start(command('sleep', '600')), launch(command('true'))];
        await short;
        await until(() => !isOpen(beside));
        long.kill();
        await long.ended;
      });

      it('to no path that is not there', async () => {
        const order = newOrder(['/bin/true'], { isolation: 'process', hidden: ['/no/such/folder'] });
        expect(await launch(order)).toMatchObject({
          cause: 'spawn_error',
          error: expect.stringMatching(/no\/such\/folder.*: ENOENT$/),
        });
      });
    }
  });

  describe('runs one job after another', () => {
    it('of which none takes orders that came too late for the one before', async () => {
      for (let round = 0; round < 40; round++) {
        const early = launcher.start(newOrder(['true']));
        // Some come while it runs, some when it is over.
        for (let times = 0; times < round % 8; times++) await new Promise((done) => setImmediate(done));
        early.pause().catch(() => undefined);
        early.signal('SIGKILL', 'main');
        early.kill();
        await early.ended;
        expect(await launch(shell('exit 7'))).toMatchObject({ cause: 'exit', exitCode: 7 });
      }
    });

    it('each with its own folder, files, environment and usage, be its order short or long', async () => {
      const long = 'x'.repeat(100_000);
      for (const text of ['short', long, 'shorter', long, 'short again']) {
        const order = newOrder(['/bin/sh', '-c', 'pwd; echo $#; printenv TEXT LEFT | wc -c', 'job'], {
          env: { PATH, ...(text === long ? { LEFT: 'over' } : { TEXT: text }) },
        });
        const sized = { ...order, command: [...order.command, ...(text === long ? [long] : [])] };
        const result = await launch(sized);
        expect(result).toMatchObject({ cause: 'exit', exitCode: 0 });
        expect(result.cpuSeconds ?? 0).toBeLessThan(1);
        const [pwd, count, bytes] = output(order).trim().split('\n');
        expect([pwd, count]).toEqual([realpathSync(order.directory), text === long ? '1' : '0']);
        expect(Number(bytes)).toBe((text === long ? 'over' : text).length + 1);
        expect(record(order)).toEqual(result);
      }
    });

    it('although what had watched the one before was killed', async () => {
      const first = shell('echo $PPID');
      expect(await launch(first)).toMatchObject({ exitCode: 0 });
      if (kind === 'native') process.kill(Number(output(first)), 'SIGKILL');
      expect(await launch(shell('exit 3'))).toMatchObject({ cause: 'exit', exitCode: 3 });
    });
  });

  describe('leaves nothing of a job', () => {
    /** In a session of its own, by two forks, deaf to TERM, with its output closed. */
    const daemon = (tag: string) =>
      `setsid sh -c 'trap "" TERM HUP; touch up; while :; do sleep 1; done' ${tag} >/dev/null 2>&1 &`;
    const DAEMON_IS_UP = 'while [ ! -e up ]; do sleep 0.01; done; echo ready';

    it('that left a daemon behind', async () => {
      const tag = randomUUID();
      const result = await launch(shell(`${daemon(tag)} ${DAEMON_IS_UP}; exit 5`));
      expect(result).toMatchObject({ cause: 'exit', exitCode: 5 });
      expect(processesWith(tag)).toEqual([]);
    });

    it('that is ended with a daemon', async () => {
      const tag = randomUUID();
      const order = shell(`${daemon(tag)} ${DAEMON_IS_UP}; sleep 1000`, { killGrace: 0.2 });
      const tree = launcher.start(order);
      await saysReady(order);
      expect(processesWith(tag)).not.toEqual([]);
      tree.end();
      expect(await tree.ended).toMatchObject({ cause: 'ended', signal: 'SIGTERM' });
      expect(processesWith(tag)).toEqual([]);
    });

    it('while another of its jobs goes on', async () => {
      const other = shell('echo ready; read line < pipe; exit 6');
      spawnSync('mkfifo', [join(other.directory, 'pipe')]);
      const going = launcher.start(other);
      await saysReady(other);
      await launch(shell('sleep 1000 & exit 0'));
      writeFileSync(join(other.directory, 'pipe'), 'go on\n');
      expect(await going.ended).toMatchObject({ cause: 'exit', exitCode: 6 });
    });

    if (kind === 'native') {
      it.each(['chain', 'daemon', 'brood', 'thread'])('that tries to escape as a %s', async (mode) => {
        const tag = randomUUID();
        const order = newOrder([escape, mode, tag], { killGrace: 0.1 });
        const tree = launcher.start(order);
        if (mode === 'brood' || mode === 'thread') {
          await saysReady(order);
          tree.end();
        }
        await tree.ended;
        expect(processesWith(tag)).toEqual([]);
      });

      it('that stops itself and all that it has', async () => {
        const tag = randomUUID();
        const order = newOrder([escape, 'stopped', tag], { wallTime: 0.3, killGrace: 0.1 });
        expect(await launch(order)).toMatchObject({ cause: 'timeout', signal: 'SIGKILL' });
        expect(processesWith(tag)).toEqual([]);
      });

      it('that forks as often as it may', async () => {
        const tag = randomUUID();
        const order = newOrder([escape, 'bomb', tag], { wallTime: 0.5, killGrace: 0.1, processes: 40 });
        const canLimitProcesses = enforces('limit:processes');
        const result = await launch({ ...order, uid: found.firstUser });
        // Where its processes cannot be counted it must not run.
        expect(result.cause).toBe(canLimitProcesses ? 'timeout' : 'spawn_error');
        if (canLimitProcesses) expect(result.maxProcesses).toBeGreaterThan(1);
        expect(result.maxProcesses ?? 0).toBeLessThanOrEqual(40);
        expect(processesWith(tag)).toEqual([]);
      });

      it('that is paused while it forks from session to session', async () => {
        const tag = randomUUID();
        const order = newOrder([escape, 'brood', tag], { killGrace: 0.1 });
        const tree = launcher.start(order);
        await saysReady(order);
        expect(await tree.pause()).toBe(true);
        tree.kill();
        await tree.ended;
        expect(processesWith(tag)).toEqual([]);
      });

      it('that kills its own supervisor', async () => {
        const tag = randomUUID();
        const order = shell(`${daemon(tag)} ${DAEMON_IS_UP}; kill -KILL $PPID; sleep 1000`);
        const result = await launch(order);
        expect(result).toMatchObject({
          cause: 'exit',
          signal: 'SIGKILL',
          error: expect.stringContaining('supervisor'),
        });
        expect(record(order)).toEqual(result);
        expect(processesWith(tag)).toEqual([]);
      });

      it('for a program of another machine, which is not given to /bin/sh', async () => {
        const order = newOrder(['./program']);
        writeFileSync(join(order.directory, 'program'), Buffer.from('\x7fELF\0\0\0\0', 'latin1'), {
          mode: 0o755,
        });
        expect(await launch(order)).toMatchObject({
          cause: 'spawn_error',
          error: expect.stringMatching(/ENOEXEC$/),
        });
      });
    }
  });

  it('measures what a tree used, where it says so', async () => {
    // One second of CPU in a process that its parent does not wait for, 64 MiB in another.
    const burner = 'ulimit -t 1; while :; do :; done';
    const order = shell(`(sh -c '${burner}'; touch burnt) & while [ ! -e burnt ]; do sleep 0.05; done;
      dd if=/dev/zero of=/dev/null bs=64M count=1`);
    const result = await launch(order);
    expect(result.exitCode).toBe(0);
    if (launcher.capabilities['usage'] === true) {
      expect(result.cpuSeconds).toBeGreaterThan(0.5);
      expect(result.cpuSeconds).toBeLessThan(30);
      expect(result.maxMemoryBytes).toBeGreaterThan(64 * 2 ** 20);
      expect(result.maxMemoryBytes).toBeLessThan(640 * 2 ** 20);
    } else {
      expect(result.cpuSeconds).toBeUndefined();
      expect(result.maxMemoryBytes).toBeUndefined();
    }
  });

  it('runs two hundred at once', async () => {
    // Each waits for the last one to have started.
    const gate = join(folder, `gate-${kind}`);
    const orders = Array.from({ length: 200 }, (_, i) =>
      shell(`echo ready; while [ ! -e ${gate} ]; do sleep 0.5; done; exit ${i}`),
    );
    const trees = orders.map((order) => launcher.start(order));
    await Promise.all(orders.map(saysReady));
    writeFileSync(gate, '');
    const results = await Promise.all(trees.map(({ ended }) => ended));
    expect(results.map(({ exitCode }) => exitCode)).toEqual(orders.map((_, i) => i));
  });

  it('takes orders that come in pieces', async () => {
    const order = shell('exit 9');
    const bytes = frame(startFields(order));
    const pieces = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
    await speak(kind, pieces, () => existsSync(recordOf(order)));
    expect(record(order)).toMatchObject({ cause: 'exit', exitCode: 9 });
  });

  describe('and its own end', () => {
    it('takes its trees along when it is killed, and another takes its place', async () => {
      const own = await startLauncher(options(kind));
      const tag = randomUUID();
      const order = shell(`sh -c 'sleep 1000; :' ${tag} & echo ready; wait`);
      const tree = own.start(order);
      await saysReady(order);
      await until(() => processesWith(tag).length > 0);
      // Of what it starts in the moment of its death the Node launcher cannot tell any more: these answers come later.
      expect([await tree.pause(), await tree.resume()]).toEqual([true, true]);
      process.kill(own.pid as number, 'SIGKILL');
      await expect(tree.ended).rejects.toThrow(LauncherDiedError);
      await until(() => processesWith(tag).length === 0);
      expect(await own.start(shell('exit 8')).ended).toMatchObject({ cause: 'exit', exitCode: 8 });
      await own.close();
    });

    it('ends its trees with their grace when it is closed, and tells', async () => {
      const own = await startLauncher(options(kind));
      const order = shell('trap "exit 3" TERM; echo ready; while :; do sleep 0.01; done');
      const tree = own.start(order);
      await saysReady(order);
      await own.close();
      expect(await tree.ended).toMatchObject({ cause: 'ended', exitCode: 3 });
      expect(() => own.start(shell('exit 0'))).toThrow('closed');
    });

    it('ends its trees and keeps their records when the worker is killed', async () => {
      const order = shell('trap "exit 3" TERM; echo ready; while :; do sleep 0.01; done');
      const program = `const { startLauncher } = require(${JSON.stringify(clientProgram)});
        startLauncher({ ...${JSON.stringify(options(kind))}, logger: console })
          .then((launcher) => launcher.start(${JSON.stringify(order)}));`;
      const worker = spawn(process.execPath, ['-e', program], { stdio: 'inherit' });
      await saysReady(order);
      worker.kill('SIGKILL');
      await until(() => existsSync(recordOf(order)));
      expect(record(order)).toMatchObject({ cause: 'ended', exitCode: 3 });
    });

    if (kind === 'native') {
      it('leaves not even a daemon when it is killed', async () => {
        const own = await startLauncher(options(kind));
        const tag = randomUUID();
        const tree = own.start(newOrder([escape, 'brood', tag]));
        await until(() => processesWith(tag).length === 51);
        process.kill(own.pid as number, 'SIGKILL');
        await expect(tree.ended).rejects.toThrow(LauncherDiedError);
        expect(processesWith(tag)).toEqual([]);
        await own.close();
      });
    }
  });
});

describe('a C launcher that does not work', () => {
  it('is replaced by the Node one, with a warning', async () => {
    const broken = join(folder, 'broken');
    writeFileSync(broken, '#!/bin/sh\nexit 1\n');
    chmodSync(broken, 0o755);
    const launcher = await startLauncher({ native: broken, nodeProgram, logger });
    expect(launcher.kind).toBe('node');
    expect(warnings.some((warning) => warning.includes(broken))).toBe(true);
    await launcher.close();
  });

  it('is an error where the Node one does not work either', async () => {
    await expect(startLauncher({ nodeProgram: join(folder, 'no-such.cjs'), logger })).rejects.toThrow(
      'ended before',
    );
  });
});

function program(kind: 'native' | 'node'): [string, string[]] {
  return kind === 'native' ? [nativeProgram, []] : [process.execPath, [nodeProgram]];
}

function startFields(order: LaunchOrder): string[] {
  const { id, directory, stdout, stderr, record: file, command, env } = order;
  const settings = Object.entries({ id, directory, stdout, stderr, record: file, wallTime: 0, killGrace: 1 });
  return [
    'start',
    ...settings.map(([name, value]) => `${name}=${value}`),
    ...command.map((arg) => `arg=${arg}`),
    ...Object.entries(env).map(([name, value]) => `env=${name}=${value}`),
  ];
}

function frame(fields: readonly string[]): Buffer {
  const body = Buffer.from(`${fields.join('\0')}\0`);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
}

/** Talks to a launcher without the client: writes the pieces one by one, closes when it is done. */
async function speak(
  kind: 'native' | 'node',
  pieces: readonly Buffer[],
  done = () => true,
): Promise<object[]> {
  // Its starter left a descriptor open.
  const left = openSync('/dev/null', 'r');
  const child = spawn(...program(kind), { stdio: ['pipe', 'pipe', 'inherit', left] });
  let text = '';
  child.stdout?.on('data', (data: Buffer) => (text += data.toString()));
  for (const piece of pieces) await new Promise((written) => child.stdin?.write(piece, written));
  await until(done);
  child.stdin?.end();
  await once(child, 'close');
  closeSync(left);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
}
