/**
 * The launcher for machines where the C program could not be built: the same protocol (docs/launcher-protocol.md),
 * as much as Node can do. It runs as a process of its own and imports nothing but Node: it is to stay small.
 */
import { ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { LaunchResult } from './launcher.js';

const PROTOCOL = 1;
/** Milliseconds between two looks at a tree that is ending. */
const LOOK = 10;

interface Order {
  id: string;
  directory: string;
  stdout: string;
  stderr: string;
  record: string;
  wallTime: number;
  killGrace: number;
  idleTime: number;
  disk: number;
  writable: string[];
  command: string[];
  env: Record<string, string>;
}

interface Tree {
  readonly order: Order;
  /** Of the main process: also the number of its group and session. */
  readonly pid: number;
  /** `NAME=value` in the environment of every process of the job that did not change it. */
  readonly marker: string | undefined;
  readonly startedAt: Date;
  readonly startedTicks: number;
  cause: LaunchResult['cause'];
  /** How the main process ended. */
  exit?: Pick<LaunchResult, 'exitCode' | 'signal'>;
  /** When the tree, asked with TERM, is killed; 0: at once. */
  killAt?: number;
  /** TERM was asked for and not yet sent. */
  termDue: boolean;
  /** When its wall time is over, by performance.now(). */
  wallEnd: number;
  wallTimer?: NodeJS.Timeout;
  idleTimer?: NodeJS.Timeout;
  diskTimer?: NodeJS.Timeout;
  /** When its output last grew, and to how much. */
  idleSince: number;
  output: number;
  /** Rounds in a row that found all of it stopped; undefined: it is not being paused. */
  quietRounds?: number;
  resumeDue: boolean;
  pausedAt?: number;
  pausedMs: number;
}

interface Member {
  readonly pid: number;
  readonly stopped: boolean;
}

const trees = new Map<string, Tree>();
const treesByPid = new Map<number, Tree>();
/** Trees that are ending: looked at together, since reading /proc costs more than everything else here. */
const ending = new Set<Tree>();
let nextLook: NodeJS.Immediate | undefined;
let laterLook: NodeJS.Timeout | undefined;
let closing = false;

function main(): void {
  // The job's files are nobody else's business.
  process.umask(0o077);
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
  process.on('SIGTERM', close);
  // Nobody reads the answers once the worker is gone; the records are still written.
  process.stdout.on('error', () => undefined);
  readOrders();
  answer({
    answer: 'ready',
    protocol: PROTOCOL,
    capabilities: {
      sureEnd: false,
      endsWithLauncher: false,
      usage: false,
      noNewPrivileges: false,
      closesDescriptors: false,
    },
  });
}

function answer(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function readOrders(): void {
  let rest: Buffer = Buffer.alloc(0);
  process.stdin.on('data', (data: Buffer) => {
    rest = rest.length === 0 ? data : Buffer.concat([rest, data]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
      const end = 4 + rest.readUInt32LE(0);
      obey(rest.toString('utf8', 4, end - 1).split('\0'));
      rest = rest.subarray(end);
    }
  });
  process.stdin.on('end', close);
  process.stdin.on('error', close);
}

function obey([verb, ...fields]: string[]): void {
  if (verb === 'start') {
    const { order, unknown } = readOrder(fields);
    if (unknown === undefined) start(order);
    else refuse(order, `this launcher cannot heed the order's field ${unknown}: EINVAL`);
    return;
  }
  const [id, name, target] = fields.map((field) => halves(field)[1]);
  const tree = trees.get(id ?? '');
  if (tree === undefined) return;
  if (verb === 'end') end(tree, 'ended');
  else if (verb === 'kill') kill(tree);
  else if (verb === 'pause') pause(tree);
  else if (verb === 'resume') resume(tree);
  else if (verb === 'signal') passSignal(tree, name ?? '', target === 'group');
  else process.stderr.write(`the order ${verb} is not known\n`);
}

/** What belongs to an isolation that this launcher has not: nobody who asks for that gets here. */
const UNPROMISED = ['hidden', 'uid'];

function readOrder(fields: string[]): { order: Order; unknown?: string } {
  const order: Order = {
    id: '',
    directory: '/',
    stdout: '/dev/null',
    stderr: '/dev/null',
    record: '',
    wallTime: 0,
    killGrace: 0,
    idleTime: 0,
    disk: 0,
    writable: [],
    command: [],
    env: {},
  };
  let unknown: string | undefined;
  for (const field of fields) {
    const [name, value] = halves(field);
    if (name === 'arg') order.command.push(value);
    else if (name === 'env') Object.defineProperty(order.env, ...property(...halves(value)));
    else if (name === 'writable') order.writable.push(value);
    else if (name === 'wallTime' || name === 'killGrace' || name === 'idleTime' || name === 'disk') {
      order[name] = Number(value);
    } else if (
      name === 'id' ||
      name === 'directory' ||
      name === 'stdout' ||
      name === 'stderr' ||
      name === 'record'
    ) {
      order[name] = value;
    } else if (!UNPROMISED.includes(name)) unknown = name;
  }
  return { order, unknown };
}

function halves(field: string): [string, string] {
  const at = field.indexOf('=');
  return at < 0 ? [field, ''] : [field.slice(0, at), field.slice(at + 1)];
}

/** Defined, not assigned: a variable may be called `__proto__`. */
function property(name: string, value: string): [string, PropertyDescriptor] {
  return [name, { value, enumerable: true, configurable: true, writable: true }];
}

function start(order: Order): void {
  const descriptors: number[] = [];
  const startedAt = new Date();
  const startedTicks = performance.now();
  let step = `the program ${order.command[0]} could not be started`;
  try {
    for (const file of [order.stdout, order.stderr]) {
      step = `the output file ${file} could not be opened`;
      descriptors.push(openSync(file, 'a', 0o600));
    }
    step = `the program ${order.command[0]} could not be started`;
    // Node has its own word for it.
    if (order.command[0] === '') throw Object.assign(new Error('empty'), { code: 'ENOENT' });
    const child = spawn(order.command[0] as string, order.command.slice(1), {
      cwd: order.directory,
      env: order.env,
      stdio: ['ignore', descriptors[0], descriptors[1]],
      detached: true,
    });
    if (child.pid === undefined)
      child.on('error', (error) => refuse(order, startError(order, step, error), startedAt));
    else watch(child, newTree(order, child.pid, startedAt, startedTicks));
  } catch (error) {
    refuse(order, startError(order, step, error), startedAt);
  } finally {
    descriptors.forEach((descriptor) => closeSync(descriptor));
  }
}

function newTree(order: Order, pid: number, startedAt: Date, startedTicks: number): Tree {
  const job = order.env['LABHAND_JOB_ID'];
  const marker = job === undefined ? undefined : `\0LABHAND_JOB_ID=${job}\0`;
  return {
    order,
    pid,
    marker,
    startedAt,
    startedTicks,
    cause: 'exit',
    termDue: false,
    wallEnd: startedTicks + order.wallTime * 1000,
    idleSince: startedTicks,
    output: outputOf(order),
    resumeDue: false,
    pausedMs: 0,
  };
}

function watch(child: ChildProcess, tree: Tree): void {
  const { order } = tree;
  trees.set(order.id, tree);
  treesByPid.set(tree.pid, tree);
  answer({ answer: 'started', id: order.id, pid: tree.pid });
  awaitWallEnd(tree);
  if (order.idleTime > 0) watchOutput(tree);
  if (order.disk > 0) void watchDisk(tree);
  child.on('exit', (code, signal) => {
    tree.exit = signal === null ? { exitCode: code ?? 0 } : { signal };
    look(tree);
  });
  if (closing) end(tree, 'ended');
}

function awaitWallEnd(tree: Tree): void {
  if (tree.order.wallTime > 0) wait(tree, tree.wallEnd - performance.now(), () => end(tree, 'timeout'));
}

function outputOf({ stdout, stderr }: Order): number {
  return [stdout, stderr].reduce(
    (sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

function watchOutput(tree: Tree): void {
  const most = tree.order.idleTime * 1000;
  const output = outputOf(tree.order);
  if (output !== tree.output) [tree.output, tree.idleSince] = [output, performance.now()];
  const left = tree.idleSince + most - performance.now();
  if (left <= 0 && tree.pausedAt === undefined) end(tree, 'idle');
  else tree.idleTimer = setTimeout(() => watchOutput(tree), Math.max(1, Math.min(left, most / 10, 1000)));
}

/** Adds up its files again and again, for at most a twentieth of the time. */
async function watchDisk(tree: Tree): Promise<void> {
  const begin = performance.now();
  let used = 0;
  for (const folder of tree.order.writable) used += await diskUse(folder);
  if (isOver(tree)) return;
  if (used > tree.order.disk) return end(tree, 'disk');
  const pause = Math.max(200, 20 * (performance.now() - begin));
  tree.diskTimer = setTimeout(() => void watchDisk(tree), pause);
}

/** What went meanwhile uses nothing. */
async function diskUse(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    const status = await lstat(path).catch(() => undefined);
    if (status === undefined) continue;
    // A file of several names is met as often.
    sum += (status.blocks * 512) / (entry.isDirectory() ? 1 : status.nlink);
    if (entry.isDirectory()) sum += await diskUse(path);
  }
  return sum;
}

function isOver(tree: Tree): boolean {
  return tree.exit !== undefined || tree.killAt !== undefined;
}

function pause(tree: Tree): void {
  if (isOver(tree)) return;
  if (tree.pausedAt !== undefined) return answer({ answer: 'paused', id: tree.order.id });
  if (tree.quietRounds !== undefined) return;
  tree.quietRounds = 0;
  stopMore(tree);
}

/** Processes are not read all at one moment: only the second round that finds nothing running is believed. */
function stopMore(tree: Tree): void {
  if (tree.quietRounds === undefined) return;
  const members = hasProc ? (membersOfTrees().get(tree) ?? []) : [];
  tree.quietRounds = members.every(({ stopped }) => stopped) ? tree.quietRounds + 1 : 0;
  if (tree.quietRounds < 2) {
    signalTree(tree, 'SIGSTOP', members);
    setTimeout(() => stopMore(tree), LOOK);
    return;
  }
  tree.quietRounds = undefined;
  tree.pausedAt = performance.now();
  clearTimeout(tree.wallTimer);
  answer({ answer: 'paused', id: tree.order.id });
  if (tree.resumeDue) resume(tree);
}

function resume(tree: Tree): void {
  if (isOver(tree)) return;
  if (tree.quietRounds !== undefined) {
    tree.resumeDue = true;
    return;
  }
  if (tree.pausedAt !== undefined) {
    signalTree(tree, 'SIGCONT', hasProc ? (membersOfTrees().get(tree) ?? []) : []);
    stopPausing(tree);
    awaitWallEnd(tree);
  }
  answer({ answer: 'resumed', id: tree.order.id });
}

/** The time for which it was paused is no time of its. */
function stopPausing(tree: Tree): void {
  tree.quietRounds = undefined;
  tree.resumeDue = false;
  if (tree.pausedAt === undefined) return;
  const lasted = performance.now() - tree.pausedAt;
  tree.pausedAt = undefined;
  tree.pausedMs += lasted;
  tree.wallEnd += lasted;
  tree.idleSince += lasted;
}

function passSignal(tree: Tree, name: string, toGroup: boolean): void {
  if (isOver(tree)) return;
  if (name in constants.signals) send(toGroup ? -tree.pid : tree.pid, name as NodeJS.Signals);
  else process.stderr.write(`the signal ${name} is not known\n`);
}

/** setTimeout fires at once when asked for more than 2^31 ms. */
function wait(tree: Tree, ms: number, then: () => void): void {
  const slice = Math.min(ms, 2 ** 31 - 1);
  tree.wallTimer = setTimeout(() => (ms > slice ? wait(tree, ms - slice, then) : then()), slice);
}

function end(tree: Tree, cause: LaunchResult['cause']): void {
  if (tree.killAt !== undefined) return;
  if (tree.exit === undefined) tree.cause = cause;
  tree.killAt = performance.now() + tree.order.killGrace * 1000;
  tree.termDue = true;
  look(tree);
}

function kill(tree: Tree): void {
  if (tree.exit === undefined && tree.killAt === undefined) tree.cause = 'ended';
  tree.killAt = 0;
  tree.termDue = false;
  look(tree);
}

function look(tree: Tree): void {
  stopPausing(tree);
  for (const timer of [tree.wallTimer, tree.idleTimer, tree.diskTimer]) clearTimeout(timer);
  ending.add(tree);
  nextLook ??= setImmediate(lookAtAll);
}

/** The processes are read after the ends that led here: what a main process forked before it ended is among them. */
function lookAtAll(): void {
  nextLook = undefined;
  clearTimeout(laterLook);
  const members = hasProc ? membersOfTrees() : new Map<Tree, Member[]>();
  for (const tree of ending) settle(tree, members.get(tree) ?? []);
  if (ending.size > 0) laterLook = setTimeout(lookAtAll, LOOK);
}

/**
 * A tree whose main process ended by itself is killed; one that was asked to end keeps its grace time to the last
 * process.
 */
function settle(tree: Tree, members: readonly Member[]): void {
  const inGrace = tree.killAt !== undefined && performance.now() < tree.killAt;
  if (tree.exit !== undefined && !alive(tree, members)) {
    finish(tree);
  } else if (tree.termDue) {
    tree.termDue = false;
    signalTree(tree, 'SIGTERM', members);
    // A stopped process takes its TERM only when it goes on.
    signalTree(tree, 'SIGCONT', members);
  } else if (!inGrace) {
    signalTree(tree, 'SIGKILL', members);
  }
}

function finish(tree: Tree): void {
  trees.delete(tree.order.id);
  treesByPid.delete(tree.pid);
  ending.delete(tree);
  report(tree.order, {
    cause: tree.cause,
    ...tree.exit,
    startedAt: tree.startedAt.toISOString(),
    finishedAt: new Date().toISOString(),
    wallSeconds: (performance.now() - tree.startedTicks) / 1000,
    pausedSeconds: tree.pausedMs / 1000,
  });
  if (closing) leaveWhenDone();
}

function refuse(order: Order, error: string, startedAt = new Date()): void {
  report(order, {
    cause: 'spawn_error',
    error,
    startedAt: startedAt.toISOString(),
    finishedAt: new Date().toISOString(),
    wallSeconds: 0,
  });
}

/** The record is on disk before the answer: whoever lost the answer finds it there. */
function report(order: Order, result: LaunchResult): void {
  if (order.record !== '') writeRecord(order, result);
  answer({ answer: 'ended', id: order.id, result });
}

function writeRecord(order: Order, result: LaunchResult): void {
  try {
    writeFileSync(`${order.record}.tmp`, JSON.stringify(result), { mode: 0o600 });
    renameSync(`${order.record}.tmp`, order.record);
  } catch (error) {
    writeSync(2, `the record ${order.record} could not be written: ${String(error)}\n`);
  }
}

function startError(order: Order, step: string, error: unknown): string {
  const code = foundNowhere(order, error)
    ? 'ENOENT'
    : ((error as NodeJS.ErrnoException).code ?? String(error));
  // Node says ENOENT of the program when it was the directory that is not there.
  const directory = directoryError(order.directory);
  if (step.startsWith('the program') && directory !== undefined) {
    return `the working directory ${order.directory} could not be entered: ${directory}`;
  }
  return `${step}: ${code}`;
}

/** EACCES is also said where only a folder of PATH cannot be searched. */
function foundNowhere({ command: [program = ''], env }: Order, error: unknown): boolean {
  if ((error as NodeJS.ErrnoException).code !== 'EACCES' || program.includes('/')) return false;
  const folders = (env['PATH'] ?? '/bin:/usr/bin').split(':');
  return !folders.some((folder) => existsSync(join(folder || '.', program)));
}

function directoryError(directory: string): string | undefined {
  try {
    return statSync(directory).isDirectory() ? undefined : 'ENOTDIR';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

/** The worker is gone, or wants us to go. */
function close(): void {
  if (closing) return;
  closing = true;
  for (const tree of trees.values()) end(tree, 'ended');
  leaveWhenDone();
}

function leaveWhenDone(): void {
  if (trees.size === 0) process.stdout.write('', () => process.exit(0));
}

function signalTree(tree: Tree, signal: NodeJS.Signals, members: readonly Member[]): void {
  // The group's number is certain to be ours only as long as its leader is there; afterwards one by one.
  if (tree.exit === undefined || !hasProc) send(-tree.pid, signal);
  for (const { pid } of members) send(pid, signal);
}

function alive(tree: Tree, members: readonly Member[]): boolean {
  return hasProc ? members.length > 0 : send(-tree.pid, 0);
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

// --- Which processes belong to which tree, from /proc: by parent, by session, by the job's number in the environment.

const hasProc = process.platform === 'linux';
/** Processes that belong to no tree; remembered, or every end of a job would read all of /proc. */
let strangers = new Set<number>();

interface Entry {
  readonly parent: number;
  readonly session: number;
  readonly stopped: boolean;
}

function membersOfTrees(): Map<Tree, Member[]> {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  const entries = new Map<number, Entry>();
  const stillStrangers = new Set<number>();
  for (const pid of pids) {
    if (strangers.has(pid)) stillStrangers.add(pid);
    else read(pid, entries);
  }
  const members = new Map<Tree, Member[]>();
  for (const [pid, { stopped }] of entries) {
    const owner = ownerOf(pid, entries);
    if (owner === undefined) stillStrangers.add(pid);
    else members.set(owner, [...(members.get(owner) ?? []), { pid, stopped }]);
  }
  strangers = stillStrangers;
  return members;
}

/** Zombies are left out: they are dead, and their parents' business. */
function read(pid: number, entries: Map<number, Entry>): void {
  const stat = readProc(`/proc/${pid}/stat`);
  const [state, parent, , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (state !== undefined && state !== '' && state !== 'Z' && state !== 'X') {
    // One deep in the kernel (D), where it may wait for a child that is stopped, stops before it does anything else.
    const stopped = ['T', 't', 'D'].includes(state);
    entries.set(pid, { parent: Number(parent), session: Number(session), stopped });
  }
}

function ownerOf(pid: number, entries: Map<number, Entry>): Tree | undefined {
  let at = pid;
  for (let entry = entries.get(at); entry !== undefined; entry = entries.get(at)) {
    const owner = treesByPid.get(at) ?? treesByPid.get(entry.session);
    if (owner !== undefined) return owner;
    at = entry.parent;
  }
  const environment = `\0${readProc(`/proc/${pid}/environ`)}\0`;
  for (const tree of trees.values()) {
    if (tree.marker !== undefined && environment.includes(tree.marker)) return tree;
  }
  return undefined;
}

function readProc(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

main();
