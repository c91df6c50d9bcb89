import { ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { LaunchOrder, LaunchResult, Launcher, LauncherDiedError, ProcessTree } from './launcher.js';

/** The version of docs/launcher-protocol.md that this file speaks. */
const PROTOCOL = 1;
/** The launchers refuse longer orders; the kernel would refuse most of them long before (E2BIG). */
const LONGEST_ORDER = 16 * 1024 * 1024;
const HANDSHAKE_MS = 10_000;
/** The Node launcher holds a few timers and child handles: it needs no large heap. */
const NODE_FLAGS = ['--max-old-space-size=64', '--max-semi-space-size=1'];

export interface LauncherLogger {
  warn(message: string): void;
}

export interface LauncherOptions {
  /** Path of the C program; where no file is there, the Node program is used. */
  readonly native?: string;
  /** Folder that was prepared for the control groups of jobs; without it the C program uses those of its own group. */
  readonly cgroup?: string;
  /** Path of the compiled Node program. */
  readonly nodeProgram: string;
  readonly logger: LauncherLogger;
}

interface Program {
  readonly kind: 'native' | 'node';
  readonly file: string;
  readonly args: readonly string[];
}

interface Ready {
  readonly answer: 'ready';
  readonly protocol: number;
  readonly capabilities: Readonly<Record<string, boolean | string>>;
}

type Answer =
  | Ready
  | { readonly answer: 'started'; readonly id: string; readonly pid: number }
  | { readonly answer: 'paused' | 'resumed'; readonly id: string }
  | { readonly answer: 'ended'; readonly id: string; readonly result: LaunchResult };

/**
 * Starts the C launcher where it is there and answers, else the Node one.
 * @throws Error when neither of them answers
 */
export async function startLauncher(options: LauncherOptions): Promise<Launcher> {
  const native = options.native !== undefined && existsSync(options.native) ? options.native : undefined;
  if (native !== undefined) {
    const program: Program = {
      kind: 'native',
      file: native,
      args: options.cgroup === undefined ? [] : [`--cgroup=${options.cgroup}`],
    };
    try {
      return await LauncherClient.open(program, options.logger);
    } catch (error) {
      options.logger.warn(
        `The launcher ${native} cannot be used, the Node launcher takes its place: ${String(error)}`,
      );
    }
  }
  const args = [...NODE_FLAGS, options.nodeProgram];
  return LauncherClient.open({ kind: 'node', file: process.execPath, args }, options.logger);
}

/** Keeps one launcher process, and replaces it when it died. */
class LauncherClient implements Launcher {
  readonly kind: 'native' | 'node';
  onReplaced?: (pid: number) => void;
  private closed = false;
  /** Processes that were replaced but whose trees are not yet gone. */
  private readonly dying = new Set<Promise<void>>();

  private constructor(
    private readonly program: Program,
    private readonly logger: LauncherLogger,
    readonly capabilities: Launcher['capabilities'],
    private current: LauncherProcess,
  ) {
    this.kind = program.kind;
  }

  static async open(program: Program, logger: LauncherLogger): Promise<LauncherClient> {
    const first = new LauncherProcess(program, logger);
    const ready = await first.handshake();
    return new LauncherClient(program, logger, ready.capabilities, first);
  }

  get pid(): number | undefined {
    return this.current.pid;
  }

  get probeProgram(): string | undefined {
    return this.kind === 'native' ? this.program.file : undefined;
  }

  start(order: LaunchOrder): ProcessTree {
    if (this.closed) throw new Error(`The launcher is closed; ${order.id} cannot be started.`);
    const refusal = impossible(order);
    if (refusal !== undefined) return neverStarted(refusal);
    if (this.current.gone) this.replace();
    return this.current.start(order);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.current.close();
    await Promise.all([this.current.ended, ...this.dying]);
  }

  private replace(): void {
    const ended = this.current.ended;
    this.dying.add(ended);
    void ended.then(() => this.dying.delete(ended));
    this.logger.warn('The launcher process had died; a new one is started.');
    this.current = new LauncherProcess(this.program, this.logger);
    if (this.current.pid !== undefined) this.onReplaced?.(this.current.pid);
  }
}

interface Run {
  pid?: number;
  /** Pauses and resumes, one after the other: an answer does not say which of them it is to. */
  turn: Promise<boolean>;
  /** Who waits for the answer. */
  answered?: (done: boolean) => void;
  resolve(result: LaunchResult): void;
  reject(error: Error): void;
}

/** One launcher process and the trees under it. */
class LauncherProcess {
  /** Resolves when the process, and with it every tree, is gone. */
  readonly ended: Promise<void>;
  /** Takes no more orders. */
  gone = false;
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  private readonly runs = new Map<string, Run>();
  private readonly ready: Promise<Ready>;
  private greet!: (ready: Ready) => void;
  private partLine = '';
  private corked = false;

  constructor(
    program: Program,
    private readonly logger: LauncherLogger,
  ) {
    this.ready = new Promise((resolve) => (this.greet = resolve));
    // Detached: a Ctrl-C in the worker's terminal is for the worker, which then ends the trees in its own order.
    // The environment is empty: what a job could read of the launcher must not be the worker's secrets.
    this.child = spawn(program.file, program.args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {},
      cwd: '/',
      detached: true,
    });
    this.ended = new Promise((resolve) => this.watch(resolve));
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** @throws Error when the process ends, stays silent or speaks another version */
  async handshake(): Promise<Ready> {
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`it said nothing for ${HANDSHAKE_MS / 1000} s`)),
        HANDSHAKE_MS,
      );
      void this.ended.then(() => reject(new Error('it ended before it was ready')));
    });
    try {
      const ready = await Promise.race([this.ready, silence]);
      if (ready.protocol !== PROTOCOL) {
        throw new Error(
          `it speaks version ${ready.protocol} of the protocol, not ${PROTOCOL}: build it again`,
        );
      }
      return ready;
    } catch (error) {
      this.child.kill('SIGKILL');
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  start(order: LaunchOrder): ProcessTree {
    const { id } = order;
    if (this.runs.has(id)) throw new Error(`The run ${id} is under way already; its id must be unique.`);
    const ended = new Promise<LaunchResult>((resolve, reject) =>
      this.runs.set(id, { turn: Promise.resolve(true), resolve, reject }),
    );
    // Whoever awaits it sees the rejection; a tree nobody awaits must not take the worker down.
    ended.catch(() => undefined);
    this.send(startFields(order));
    const tell = (verb: string, ...more: string[]) => {
      if (this.runs.has(id)) this.send([verb, `id=${id}`, ...more]);
    };
    return {
      ended,
      end: () => tell('end'),
      kill: () => tell('kill'),
      pause: () => this.inTurn(id, () => tell('pause')),
      resume: () => this.inTurn(id, () => tell('resume')),
      signal: (name, target) => tell('signal', `name=${name}`, `target=${target}`),
    };
  }

  private inTurn(id: string, tell: () => void): Promise<boolean> {
    const run = this.runs.get(id);
    if (run === undefined) return Promise.resolve(false);
    run.turn = run.turn.then(() => {
      if (!this.runs.has(id) || this.gone) return false;
      return new Promise<boolean>((done) => {
        run.answered = done;
        tell();
      });
    });
    return run.turn;
  }

  /** The launcher ends its trees when its input ends. */
  close(): void {
    this.gone = true;
    this.child.stdin.end();
  }

  /** Orders of one turn of the event loop leave in one write. */
  private send(fields: readonly string[]): void {
    const { stdin } = this.child;
    if (this.gone || stdin.destroyed) return;
    if (!this.corked) {
      this.corked = true;
      stdin.cork();
      setImmediate(() => {
        this.corked = false;
        stdin.uncork();
      });
    }
    stdin.write(frame(fields));
  }

  private watch(ended: () => void): void {
    const { child } = this;
    let death = 'it could not be started';
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.receive(text));
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => this.logger.warn(`Launcher: ${text.trimEnd()}`));
    // A broken pipe is told by the end of the process.
    child.stdin.on('error', () => undefined);
    child.on('error', (error) => {
      death = error.message;
      this.gone = true;
    });
    child.on('exit', (code, signal) => {
      death = signal === null ? `exit code ${code}` : `signal ${signal}`;
      this.gone = true;
      this.killGroups();
    });
    // The C program's supervisors hold its output open until their trees are gone: `close` says that nothing is left.
    child.on('close', () => {
      this.gone = true;
      // Of some it may have told in its last moment.
      this.killGroups();
      for (const run of this.runs.values()) {
        run.reject(new LauncherDiedError(death));
        run.answered?.(false);
      }
      this.runs.clear();
      ended();
    });
  }

  private receive(text: string): void {
    const lines = (this.partLine + text).split('\n');
    this.partLine = lines.pop() ?? '';
    try {
      for (const line of lines) this.take(JSON.parse(line) as Answer);
    } catch (error) {
      // Which run this was for is lost: better all of them fail than one waits for ever.
      this.logger.warn(`The launcher's answer cannot be understood, so it is killed: ${String(error)}`);
      this.child.kill('SIGKILL');
    }
  }

  private take(answer: Answer): void {
    if (answer.answer === 'ready') return this.greet(answer);
    const run = this.runs.get(answer.id);
    if (run === undefined) return;
    if (answer.answer === 'started') {
      run.pid = answer.pid;
    } else if (answer.answer === 'ended') {
      this.runs.delete(answer.id);
      run.resolve(answer.result);
      run.answered?.(false);
    } else {
      run.answered?.(true);
    }
  }

  /** Only the Node program names its process groups: nobody else is left to end them when it was killed. */
  private killGroups(): void {
    for (const { pid } of this.runs.values()) if (pid !== undefined) killGroup(pid);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is gone already.
  }
}

const SETTINGS = [
  'idleTime',
  'isolation',
  'cpu',
  'memory',
  'processes',
  'openFiles',
  'fileSize',
  'disk',
  'ioRead',
  'ioWrite',
  'uid',
] as const;

function startFields(order: LaunchOrder): string[] {
  return [
    'start',
    `id=${order.id}`,
    `directory=${order.directory}`,
    `stdout=${order.stdout}`,
    `stderr=${order.stderr}`,
    ...(order.record === undefined ? [] : [`record=${order.record}`]),
    `wallTime=${order.wallTime}`,
    `killGrace=${order.killGrace}`,
    ...SETTINGS.flatMap((name) => (order[name] === undefined ? [] : [`${name}=${order[name]}`])),
    ...(order.network === false ? ['network=off'] : []),
    ...(order.writable ?? []).map((path) => `writable=${path}`),
    ...(order.hidden ?? []).map((path) => `hidden=${path}`),
    ...order.command.map((arg) => `arg=${arg}`),
    ...Object.entries(order.env).map(([name, value]) => `env=${name}=${value}`),
  ];
}

function frame(fields: readonly string[]): Buffer {
  const body = `${fields.join('\0')}\0`;
  const length = Buffer.byteLength(body);
  const buffer = Buffer.allocUnsafe(4 + length);
  buffer.writeUInt32LE(length, 0);
  buffer.write(body, 4);
  return buffer;
}

/** What no system could start, or undefined; such an order never reaches the launcher, so it leaves no record. */
function impossible(order: LaunchOrder): string | undefined {
  if (order.command.length === 0) return 'the command is empty: EINVAL';
  const fields = startFields(order);
  if (fields.some((field) => field.includes('\0')))
    return 'the command or its environment holds a NUL character: EINVAL';
  const bytes = fields.reduce((sum, field) => sum + Buffer.byteLength(field) + 1, 0);
  return bytes > LONGEST_ORDER ? 'the command and its environment are too long: E2BIG' : undefined;
}

function neverStarted(error: string): ProcessTree {
  const now = new Date().toISOString();
  const result: LaunchResult = {
    cause: 'spawn_error',
    error,
    startedAt: now,
    finishedAt: now,
    wallSeconds: 0,
  };
  const never = () => Promise.resolve(false);
  return {
    ended: Promise.resolve(result),
    end: () => undefined,
    kill: () => undefined,
    pause: never,
    resume: never,
    signal: () => undefined,
  };
}
