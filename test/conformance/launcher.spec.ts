import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { readdirSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildSync } from 'esbuild';
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

describe.each(kinds)('the %s launcher', (kind) => {
  let launcher: Launcher;

  beforeAll(async () => {
    launcher = await startLauncher(options(kind));
  });

  afterAll(() => launcher.close());

  const launch = (order: LaunchOrder) => launcher.start(order).ended;

  it('is the one that was asked for', () => {
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
