import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
} from 'node:fs';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildSync } from 'esbuild';
import { ISOLATION_LEVELS, type Isolation } from '#shared/job/job-spec.js';
import { findCapabilities } from '#worker/capabilities.js';
import { startLauncher } from '#worker/launcher-client.js';
import { LauncherDiedError, type LaunchOrder, type Launcher, type LaunchResult } from '#worker/launcher.js';

// What a job cannot do at each level of isolation. What this host cannot give (its probes tell) must be refused with the
// name of what failed, and not be among the words that the worker enforces. As root, an ordinary user's worker is tried too.

const root = resolve(__dirname, '../..');
const isRoot = process.geteuid?.() === 0;
// Where it can be helped not in /tmp: namespaces cover that, and so would hide what is to be hidden otherwise.
const base = isRoot ? '/var/lib' : [join(root, '.cache'), tmpdir()].find(isWritable)!;
const folder = mkdtempSync(join(base, 'labhand-isolation-'));
const native = join(folder, 'labhand-launcher');
const nodeProgram = join(folder, 'node-launcher.cjs');
const escape = join(folder, 'escape');
const logger = { warn: (message: string) => console.warn(message) };

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const MEBI = 1024 * 1024;
const SOMEBODY = 64_321;
const users = isRoot ? (['root', 'an ordinary user'] as const) : (['an ordinary user'] as const);

const [major, minor] = release().split('.').map(Number) as [number, number];
/** Before Linux 5.19 Landlock keeps the folders of a job apart: what moves is copied, and a link cannot be made. */
const landlockLinks = major > 5 || (major === 5 && minor >= 19);

const hasCompiler = ['cc', 'gcc', 'clang'].some((name) => spawnSync(name, ['--version']).status === 0);
if (!hasCompiler)
  console.log('There is no C compiler here: the Node launcher is tested, which isolates nothing.');

beforeAll(() => {
  chmodSync(folder, 0o755);
  buildSync({
    bundle: true,
    platform: 'node',
    format: 'cjs',
    entryPoints: [join(root, 'apps/worker/src/node-launcher.ts')],
    outfile: nodeProgram,
  });
  if (!hasCompiler) return;
  run(process.execPath, [join(root, 'apps/worker/launcher/build.mjs'), native]);
  run('cc', ['-O2', '-pthread', '-o', escape, join(__dirname, 'escape.c')]);
  chmodSync(native, 0o755);
  chmodSync(escape, 0o755);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, args: string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(5);
}

/** Processes that have the text among their arguments. */
function processesWith(text: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  });
}

/** Folders of the job's control groups, from what it sees in /proc/self/cgroup. */
function groupFolders(cgroup: string): string[] {
  return cgroup
    .split('\n')
    .filter((line) => line.includes('/labhand-') && !line.endsWith('/labhand-self'))
    .flatMap((line) => {
      const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      return [`/sys/fs/cgroup/${controllers}${path}`, `/sys/fs/cgroup${path}`];
    })
    .filter((path) => existsSync(path));
}

// Its own part of the C launcher, which uses it where Landlock is too old to; where that is not built there is none.
if (hasCompiler) {
  it('the filter for older kernels lets a job cut only files that it opens for writing', () => {
    const cut = join(folder, 'cut');
    run('cc', ['-O2', '-o', cut, join(__dirname, 'cut.c'), join(root, 'apps/worker/launcher/seccomp.c')]);
    const ways = (...args: string[]) =>
      spawnSync(cut, [join(folder, 'cut-file'), ...args], { encoding: 'utf8' })
        .stdout.trim()
        .split('\n');

    const legitimate = ['opened for writing', 'opened for writing, ftruncate', 'read'];
    expect(ways()).toEqual(
      expect.arrayContaining(['truncate', 'openat to read', 'openat for neither', ...legitimate]),
    );
    expect(ways('kept')).toEqual(legitimate);
  });
}

describe.each(users)('to a worker of %s', (user) => {
  const steppedDown = isRoot && user !== 'root';
  const groups = process.getgroups?.() ?? [];
  let home: string;
  let launcher: Launcher;
  let enforced: ReadonlySet<string>;
  /** Whose memory is limited. */
  let memory: string;
  /** Of the jobs, where they have one that is not the worker's. */
  let uid: number | undefined;
  let worker: ChildProcess;
  let server: Server;
  let connections = 0;

  /** The tests themselves are that user's then: what they make is the worker's. */
  function stepDown(): void {
    process.setgroups?.([]);
    process.setegid?.(SOMEBODY);
    process.seteuid?.(SOMEBODY);
  }

  function stepUp(): void {
    process.seteuid?.(0);
    process.setegid?.(0);
    process.setgroups?.(groups);
  }

  const start = async () =>
    startLauncher({ native: hasCompiler ? program() : undefined, nodeProgram, logger });

  function program(): string {
    if (!steppedDown) return native;
    const wrapper = join(home, 'launcher');
    writeFileSync(wrapper, `#!/bin/sh\nexec ${forGood(native).join(' ')} "$@"\n`, { mode: 0o755 });
    return wrapper;
  }

  /** Programs of ours could take root's rights back. */
  function forGood(...command: string[]): [string, ...string[]] {
    const stepped = ['/usr/bin/setpriv', `--reuid=${SOMEBODY}`, `--regid=${SOMEBODY}`, '--keep-groups'];
    return [...(steppedDown ? stepped : []), ...command] as [string, ...string[]];
  }

  beforeAll(async () => {
    home = join(folder, user.replaceAll(' ', '-'));
    mkdirSync(home, { mode: 0o755 });
    if (steppedDown) {
      chownSync(home, SOMEBODY, SOMEBODY);
      stepDown();
    }
    for (const name of ['state', 'outside', 'workspaces']) mkdirSync(join(home, name));
    writeFileSync(join(home, 'state', 'secret'), 'state-secret');
    mkdirSync(join(home, 'workspaces', 'other'));
    writeFileSync(join(home, 'workspaces', 'other', 'file'), 'other-secret');
    const [file, ...args] = forGood('/bin/sleep', '1000');
    worker = spawn(file, args, { env: { LABHAND_AMQP_URL: 'broker-secret' }, stdio: 'ignore' });
    await until(() => readFileSync(`/proc/${worker.pid}/comm`, 'utf8') === 'sleep\n');
    server = createServer((socket) => {
      connections++;
      socket.end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    launcher = await start();
    const { capabilities, firstUser } = await findCapabilities(launcher, join(home, 'probes'), user);
    enforced = new Set(capabilities.enforces.split(' '));
    memory = String(capabilities['memory']);
    uid = firstUser;
    console.log(`To a worker of ${user}, this host gives: ${[...enforced].join(' ')}`);
  }, 60_000);

  afterAll(async () => {
    if (steppedDown) stepUp();
    worker.kill('SIGKILL');
    server.close();
    await launcher.close();
  });

  function newOrder(command: readonly string[], more: Partial<LaunchOrder>): LaunchOrder {
    const id = randomUUID();
    const directory = join(home, 'workspaces', id);
    mkdirSync(directory);
    return {
      id,
      command,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME_OF_ALL: home, WORKER: String(worker.pid) },
      directory,
      stdout: join(home, 'state', `${id}.out`),
      stderr: join(home, 'state', `${id}.err`),
      wallTime: 60,
      killGrace: 10,
      writable: [directory],
      uid,
      hidden: [join(home, 'state'), join(home, 'workspaces')],
      ...more,
    };
  }

  const shell = (script: string, more: Partial<LaunchOrder>) =>
    newOrder(['/bin/bash', '-c', script, 'job'], more);
  const output = (order: LaunchOrder) => (existsSync(order.stdout) ? readFileSync(order.stdout, 'utf8') : '');
  const says = (order: LaunchOrder, text: string) => until(() => output(order).includes(text));

  interface Ran extends LaunchResult {
    readonly out: string;
    readonly order: LaunchOrder;
  }

  async function runJob(order: LaunchOrder): Promise<Ran> {
    const result = await launcher.start(order).ended;
    return { ...result, out: output(order), order };
  }

  /** A fact where the host enforces the words, and that their lack is told where it does not. */
  function where(words: readonly string[], limits: Partial<LaunchOrder>, fact: () => Promise<void>) {
    return async () => {
      if (words.every((word) => enforced.has(word))) return fact();
      const { cause, error, out } = await runJob(shell('echo ran', limits));
      expect({ cause, out }).toEqual({ cause: 'spawn_error', out: '' });
      expect(error).toMatch(/: E[A-Z0-9]+$/);
    };
  }

  const level = (isolation: Isolation, fact: () => Promise<void>) =>
    where([`isolation:${isolation}`], { isolation }, fact);

  it('gives isolation that is asked for, or names what failed', async () => {
    for (const isolation of ISOLATION_LEVELS) {
      const { cause, error = '' } = await runJob(shell('exit 0', { isolation }));
      const given = enforced.has(`isolation:${isolation}`);
      expect({ isolation, cause }).toEqual({ isolation, cause: given ? 'exit' : 'spawn_error' });
      expect(error).toMatch(given ? /^$/ : /: E[A-Z0-9]+$/);
    }
  });

  it('says whether memory is limited for each process or for the tree', () => {
    const tree = `tree (cgroup ${launcher.capabilities['cgroup']})`;
    expect(memory).toBe(enforced.has('isolation:cgroup') ? tree : 'each process (RLIMIT_DATA)');
  });

  it('finds the same where a worker before was killed while it tried', async () => {
    const left = join(home, 'probes-left');
    for (const probe of [...Array(20).keys(), `user-${uid}`]) {
      mkdirSync(join(left, String(probe), 'hidden'), { recursive: true });
      writeFileSync(join(left, String(probe), 'hidden', 'stdout'), 'of another time\n');
    }
    const { capabilities } = await findCapabilities(launcher, left, user);
    expect(new Set(capabilities.enforces.split(' '))).toEqual(enforced);
  });

  describe.each(ISOLATION_LEVELS)('with isolation %s a job', (isolation) => {
    const limits = { isolation };

    it(
      'reads no environment of the worker',
      level(isolation, async () => {
        expect(readFileSync(`/proc/${worker.pid}/environ`, 'latin1')).toContain('broker-secret');
        const script =
          'cat /proc/$WORKER/environ /proc/[0-9]*/environ 2> /dev/null | tr "\\0" "\\n"; echo done';
        const { out } = await runJob(shell(script, limits));
        expect(out).not.toContain('broker-secret');
        expect(out).toContain('done\n');
      }),
    );

    it(
      'reads neither the state directory nor other workspaces, but its own',
      level(isolation, async () => {
        const script =
          'cat $HOME_OF_ALL/state/secret $HOME_OF_ALL/workspaces/other/file; ls $HOME_OF_ALL/state; echo own > f; cat f $PWD/f';
        const { out } = await runJob(shell(script, limits));
        expect(out).toBe('own\nown\n');
      }),
    );

    it(
      'writes nothing but its own',
      level(isolation, async () => {
        const others = ['outside', 'state', 'workspaces', 'workspaces/other'];
        const script = `for at in ${others.join(' ')}; do : > $HOME_OF_ALL/$at/made; done; : > made; echo done`;
        const { out, order } = await runJob(shell(script, limits));
        expect(out).toBe('done\n');
        expect(others.filter((at) => existsSync(join(home, at, 'made')))).toEqual([]);
        expect(existsSync(join(order.directory, 'made'))).toBe(true);
      }),
    );

    it(
      'links and moves files from one of its folders to another',
      level(isolation, async () => {
        const script = 'mkdir a b && : > a/f && ln a/f b/linked && echo linked; mv a/f b/moved && echo moved';
        const { out } = await runJob(shell(script, limits));
        const copies = isolation === 'process' && !landlockLinks;
        expect(out).toBe(copies ? 'moved\n' : 'linked\nmoved\n');
      }),
    );

    it(
      'leaves files that the worker can remove',
      level(isolation, async () => {
        const { order, exitCode } = await runJob(shell('mkdir -p a/b && echo x > a/b/c', limits));
        expect(exitCode).toBe(0);
        expect(statSync(join(order.directory, 'a/b/c')).uid).toBe(uid ?? process.geteuid?.());
        rmSync(order.directory, { recursive: true });
      }),
    );

    it(
      'reaches the network, unless it is off',
      level(isolation, async () => {
        const { port } = server.address() as AddressInfo;
        const script = `exec 3<> /dev/tcp/127.0.0.1/${port} && echo connected`;
        const before = connections;
        expect(await runJob(shell(script, limits))).toMatchObject({ out: 'connected\n' });
        await until(() => connections === before + 1);
        expect(await runJob(shell(script, { ...limits, network: false }))).toMatchObject({ out: '' });
        expect(connections).toBe(before + 1);
      }),
    );

    it.each(['chain', 'daemon', 'brood', 'thread'])('does not outlive its end by a %s', (mode) =>
      level(isolation, async () => {
        const tag = randomUUID();
        const order = shell(`${escape} ${mode} ${tag} & sleep 0.1; exit 3`, limits);
        expect(await runJob(order)).toMatchObject({ cause: 'exit', exitCode: 3 });
        expect(processesWith(tag)).toEqual([]);
      })(),
    );

    it(
      'gets its grace time to its last process, and KILL after it',
      level(isolation, async () => {
        const child = 'trap "echo saved; exit" TERM; echo ready; while :; do sleep 0.01; done';
        const deaf = 'trap "" TERM; while :; do sleep 0.01; done';
        const order = shell(`bash -c '${deaf}' & bash -c '${child}' & wait`, { ...limits, killGrace: 0.5 });
        const tree = launcher.start(order);
        await says(order, 'ready\n');
        tree.end();
        expect(await tree.ended).toMatchObject({ cause: 'ended' });
        expect(output(order)).toBe('ready\nsaved\n');
      }),
    );

    it(
      'stands still while it is paused, and goes on',
      level(isolation, async () => {
        const order = shell('echo ready; (while :; do echo .; sleep 0.01; done) & wait', limits);
        const tree = launcher.start(order);
        await says(order, 'ready\n.');
        await tree.pause();
        const still = output(order).length;
        await delay(100);
        expect(output(order).length).toBe(still);
        await tree.resume();
        await until(() => output(order).length > still);
        await tree.pause();
        tree.kill();
        expect(await tree.ended).toMatchObject({ cause: 'ended', signal: 'SIGKILL' });
      }),
    );

    it(
      'gets a signal for its main process',
      level(isolation, async () => {
        const order = shell(
          'trap "echo caught; exit 4" USR1; echo ready; while :; do sleep 0.01; done',
          limits,
        );
        const tree = launcher.start(order);
        await says(order, 'ready\n');
        tree.signal('SIGUSR1', 'main');
        expect(await tree.ended).toMatchObject({ cause: 'exit', exitCode: 4 });
        expect(output(order)).toBe('ready\ncaught\n');
      }),
    );

    it(
      'ends with the launcher',
      level(isolation, async () => {
        const own = await start();
        const tag = randomUUID();
        const order = shell(`(setsid sleep 1000; :) & echo ready; wait # ${tag}`, limits);
        const tree = own.start(order);
        await says(order, 'ready\n');
        const pids = processesWith(tag);
        expect(pids).not.toEqual([]);
        process.kill(own.pid as number, 'SIGKILL');
        await expect(tree.ended).rejects.toThrow(LauncherDiedError);
        expect(processesWith(tag)).toEqual([]);
        await own.close();
      }),
    );
  });

  describe.each(['namespaces', 'cgroup'] as const)('with isolation %s a job', (isolation) => {
    const limits = { isolation };

    it(
      'sees no process but its own',
      level(isolation, async () => {
        const { out } = await runJob(shell('echo $$ /proc/[0-9]*; kill -0 $WORKER || echo apart', limits));
        expect(out).toMatch(/^(\d+) \/proc\/1 \/proc\/\1\napart\n$/);
      }),
    );

    it(
      'has a /tmp of its own',
      level(isolation, async () => {
        const name = `labhand-${randomUUID()}`;
        writeFileSync(join('/tmp', name), 'outside');
        const script = `ls -A /tmp /dev/shm | grep -v labhand-isolation; echo x > /tmp/${name} && echo x > /dev/shm/${name} && cat /tmp/${name}`;
        const { out } = await runJob(shell(script, limits));
        expect(out).toBe('/dev/shm:\n\n/tmp:\nx\n');
        expect(readFileSync(join('/tmp', name), 'utf8')).toBe('outside');
        expect(existsSync(join('/dev/shm', name))).toBe(false);
        rmSync(join('/tmp', name));
      }),
    );

    it(
      'finds a /tmp that is full at the least of its limits',
      level(isolation, async () => {
        const script = 'head -c 3000000 /dev/zero > /tmp/a; stat -c %s /tmp/a';
        const { out } = await runJob(shell(script, { ...limits, disk: 2 * MEBI }));
        expect(out).toBe(`${2 * MEBI}\n`);
      }),
    );

    it(
      'finds everything else read-only, for good and whatever it asks for',
      level(isolation, async () => {
        const script = `for at in / /etc /usr /sys /proc/sys/kernel /dev /sys/fs/cgroup; do
            (: > $at/labhand-made) 2> /dev/null && echo "made in $at"; done
          (echo 1 > /proc/sys/kernel/printk) 2> /dev/null && echo 'set the kernel'
          mount -o remount,rw / && echo remounted
          umount /dev && echo unmounted
          ls /dev | tr '\\n' ' '; grep CapEff /proc/self/status`;
        const { out } = await runJob(shell(script, limits));
        expect(out).toBe(
          'fd full null ptmx pts random shm stderr stdin stdout tty urandom zero CapEff:\t0000000000000000\n',
        );
      }),
    );

    it(
      'has devices and terminals that work',
      level(isolation, async () => {
        const script = `head -c 3 /dev/urandom | wc -c; echo away > /dev/null; echo out >> /dev/stdout
          echo err >> /dev/stderr; script -qec 'tty' /dev/null | tr -d '\\r'`;
        const { out } = await runJob(shell(script, limits));
        expect(out).toBe('3\nout\n/dev/pts/0\n');
      }),
    );

    it(
      'shares no memory with other jobs by its key',
      level(isolation, async () => {
        const { out } = await runJob(shell('ipcmk -M 4096 > /dev/null; ipcs -m | grep -c "^0x"', limits));
        expect(out).toBe('1\n');
        expect((await runJob(shell('ipcs -m | grep -c "^0x"', limits))).out).toBe('0\n');
      }),
    );

    it(
      'has a network of its own where it is off, and talks to itself',
      level(isolation, async () => {
        const script =
          'tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " "; ping -c1 127.0.0.1 > /dev/null 2>&1; ls /proc/self/ns/net';
        const off = await runJob(shell(script, { ...limits, network: false }));
        expect(off.out).toBe('lo\n/proc/self/ns/net\n');
      }),
    );

    it(
      'that never ran says why, by the path that could not be entered',
      level(isolation, async () => {
        const order = newOrder(['/bin/true'], { ...limits, writable: [join(home, 'workspaces', 'gone')] });
        const { cause, error } = await runJob(order);
        expect(cause).toBe('spawn_error');
        expect(error).toMatch(/the writable path .*gone could not be kept \(open_tree\): ENOENT$/);
        expect((await runJob(newOrder(['no-such-program'], limits))).error).toMatch(
          /no-such-program.*: ENOENT$/,
        );
      }),
    );
  });

  describe('with isolation cgroup a tree', () => {
    const limits = { isolation: 'cgroup' } as const;
    const cgroup = (fact: () => Promise<void>) => level('cgroup', fact);
    /** Each holds so many mebibytes, and waits. */
    const holds = (mebi: number) =>
      `bash -c 'a=$(head -c ${mebi * MEBI} /dev/zero | tr "\\0" x); echo ok; sleep 2'`;

    it(
      'is killed for its memory, whichever of its processes has it',
      cgroup(async () => {
        const script = `${holds(20)} & ${holds(20)} & ${holds(20)} & wait -n; exit 1`;
        const result = await runJob(shell(script, { ...limits, memory: 48 * MEBI, wallTime: 30 }));
        expect(result.cause).toBe('out_of_memory');
        expect(result.maxMemoryBytes).toBeLessThanOrEqual(48 * MEBI);
      }),
    );

    it(
      'that goes on without the process that was killed for memory has not failed',
      cgroup(async () => {
        const { cause } = await runJob(shell(`${holds(100)}; exit 0`, { ...limits, memory: 48 * MEBI }));
        // Version 2 ends the whole tree.
        expect(cause).toBe(launcher.capabilities['cgroup'] === 'v2' ? 'out_of_memory' : 'exit');
      }),
    );

    it(
      'has no more processes than it may',
      cgroup(async () => {
        const script = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done';
        const order = newOrder(['/bin/sh', '-c', script], { ...limits, processes: 10 });
        const result = await runJob(order);
        expect(result.exitCode).not.toBe(0);
        expect(result.maxProcesses).toBeLessThanOrEqual(10);
      }),
    );

    it(
      'is measured as a whole, those included that nobody waited for',
      cgroup(async () => {
        const turns = `bash -c 'i=0; while ((i++ < 100000)); do :; done'`;
        const script = `(setsid ${turns} & setsid ${turns} &); ${turns}; sleep 0.5; cat /proc/self/cgroup`;
        const { cpuSeconds = 0, maxProcesses = 0, out } = await runJob(shell(script, limits));
        expect(cpuSeconds).toBeGreaterThan(0.05);
        expect(maxProcesses).toBeGreaterThanOrEqual(4);
        expect(groupFolders(out)).toEqual([]);
      }),
    );

    it(
      'leaves no group behind',
      cgroup(async () => {
        const order = shell('cat /proc/self/cgroup; echo ready; sleep 1000', limits);
        const tree = launcher.start(order);
        await says(order, 'ready\n');
        expect(groupFolders(output(order))).not.toEqual([]);
        tree.kill();
        await tree.ended;
        expect(groupFolders(output(order))).toEqual([]);
      }),
    );

    it(
      'whose launcher was killed leaves no group behind the start of the next launcher',
      cgroup(async () => {
        const own = await start();
        const order = shell('cat /proc/self/cgroup; echo ready; sleep 1000', limits);
        const tree = own.start(order);
        await says(order, 'ready\n');
        const folders = groupFolders(output(order));
        process.kill(own.pid as number, 'SIGKILL');
        await expect(tree.ended).rejects.toThrow(LauncherDiedError);
        await own.close();
        const next = await start();
        expect(
          folders.map((path) => path.replace(/\/[^/]*$/, '')).filter((path) => existsSync(path)),
        ).toEqual([]);
        await next.close();
      }),
    );

    it(
      'that was paused when all that watched it was killed ends with the start of the next launcher',
      cgroup(async () => {
        const own = await start();
        const order = shell('cat /proc/self/cgroup; echo ready; sleep 1000', limits);
        const tree = own.start(order);
        await says(order, 'ready\n');
        await tree.pause();
        const folders = groupFolders(output(order));
        expect(folders.filter((path) => existsSync(path))).not.toEqual([]);
        const watchers = readFileSync(`/proc/${own.pid}/task/${own.pid}/children`, 'utf8').trim().split(' ');
        for (const pid of [own.pid!, ...watchers.map(Number)]) process.kill(pid, 'SIGKILL');
        await expect(tree.ended).rejects.toThrow(LauncherDiedError);
        await own.close();
        // Perhaps it is that of another worker of this machine.
        const next = await start();
        expect(folders.filter((path) => existsSync(path))).toEqual([]);
        await next.close();
      }),
    );

    it(
      'of a launcher that lives is left alone by another launcher',
      cgroup(async () => {
        const order = shell('cat /proc/self/cgroup; echo ready; sleep 1000', limits);
        const tree = launcher.start(order);
        await says(order, 'ready\n');
        const other = await start();
        await other.close();
        expect(groupFolders(output(order))).not.toEqual([]);
        tree.kill();
        expect(await tree.ended).toMatchObject({ cause: 'ended' });
      }),
    );
  });

  describe('by a limit alone, without isolation, a job', () => {
    it(
      'gets its share of the processors',
      where(['limit:cpu'], { cpu: 0.2 }, async () => {
        const order = shell('(while :; do :; done) & while :; do :; done', {
          cpu: 0.2,
          wallTime: 1,
          killGrace: 0,
        });
        const { cause, cpuSeconds } = await runJob(order);
        expect(cause).toBe('timeout');
        expect(cpuSeconds).toBeLessThan(0.5);
      }),
    );

    it(
      'reads no faster than it may',
      where(['limit:ioRead'], { ioRead: MEBI }, async () => {
        const script = `dd if=/dev/zero of=f bs=64k count=16 conv=fsync; dd if=f of=/dev/null bs=64k iflag=direct; echo read`;
        const { wallSeconds, out } = await runJob(shell(script, { ioRead: MEBI }));
        expect(out).toBe('read\n');
        expect(wallSeconds).toBeGreaterThan(0.7);
      }),
    );

    it(
      'writes no faster than it may',
      where(['limit:ioWrite'], { ioWrite: MEBI }, async () => {
        const script = `dd if=/dev/zero of=f bs=64k count=16 conv=fsync; echo written`;
        const { wallSeconds, out } = await runJob(shell(script, { ioWrite: MEBI }));
        expect(out).toBe('written\n');
        expect(wallSeconds).toBeGreaterThan(0.7);
      }),
    );
  });
});
