import {
  chmodSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spool, type SpoolEntry, type SpoolFiles } from './spool.js';

const key = (nth: number) => `00000000-0000-4000-8000-${String(nth).padStart(12, '0')}-${nth}`;
const jobOf = (nth: number) => key(nth).replace(/-\d+$/, '');

let folder: string;
let spool: Spool;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'labhand-spool-'));
  spool = new Spool(folder, true);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const inodes = ({ stdout, stderr }: SpoolFiles) => [stdout, stderr].map((log) => statSync(log).ino);
const contents = ({ stdout, stderr }: SpoolFiles) => [stdout, stderr].map((log) => readFileSync(log, 'utf8'));
const names = () => readdirSync(join(folder, 'attempts')).sort();

describe('logs', () => {
  it('are used again, empty', () => {
    const first = spool.open(key(1));
    const before = inodes(first);
    writeFileSync(first.stdout, 'said');
    spool.remove(key(1));
    const second = spool.open(key(2));
    expect(inodes(second)).toEqual(before);
    expect(contents(second)).toEqual(['', '']);
  });

  it.each<[string, (log: string) => void]>([
    ['whose mode a command changed', (log) => chmodSync(log, 0)],
    ['that a command gave another name', (log) => linkSync(log, join(folder, 'kept'))],
    ['that are gone', (log) => rmSync(log)],
  ])('%s are made anew', (_name, spoil) => {
    const first = spool.open(key(1));
    spoil(first.stderr);
    spool.remove(key(1));
    const second = spool.open(key(2));
    expect(statSync(second.stderr)).toMatchObject({ mode: 0o100600, nlink: 1, size: 0 });
  });

  it('that something may still write to are made anew', () => {
    spool.close();
    spool = new Spool(folder, false);
    const { stdout } = spool.open(key(1));
    linkSync(stdout, join(folder, 'kept'));
    spool.remove(key(1));
    writeFileSync(join(folder, 'kept'), 'late');
    expect(contents(spool.open(key(2)))).toEqual(['', '']);
  });

  it('belong to one attempt at a time', () => {
    const [first, second] = [spool.open(key(1)), spool.open(key(2))];
    expect(new Set([...inodes(first), ...inodes(second)]).size).toBe(4);
    expect(() => spool.open(key(1))).toThrow(key(1));
  });
});

it('an attempt finds its place in a table that is there before it', () => {
  const table = join(folder, 'attempts/held');
  const { size } = statSync(table);
  spool.open(key(1));
  expect([statSync(table).size, readFileSync(table, 'utf8').trim()]).toEqual([size, key(1)]);
});

describe('the next start', () => {
  const entry = (nth: number): SpoolEntry =>
    ({ jobId: jobOf(nth), attempt: nth, filesToken: 't', uploads: [], outcome: {} }) as unknown as SpoolEntry;

  it('finds what ended and what died, and nothing else', () => {
    for (const nth of [1, 2, 3]) writeFileSync(spool.open(key(nth)).path('input-0'), 'x');
    spool.write(key(2), entry(2));
    spool.remove(key(1));
    writeFileSync(join(folder, 'attempts/17.stdout'), 'stray');

    spool = new Spool(folder, true);
    expect(spool.leftovers()).toEqual({ entries: [entry(2)], dead: [{ jobId: jobOf(3), attempt: 3 }] });
    const left = [1, 2].flatMap((set) => ['input-0', 'stderr', 'stdout'].map((name) => `${set}.${name}`));
    expect(names()).toEqual([...left, '1.outcome.json', 'held'].sort());
    expect(names()).not.toContain('17.stdout');
  });

  it('finds every line where it was, and frees one that no worker wrote', () => {
    for (const nth of [1, 2]) spool.open(key(nth));
    const table = join(folder, 'attempts/held');
    const lines = readFileSync(table);
    writeFileSync(table, lines.fill(0, 0, lines.indexOf('\n') + 1));
    spool = new Spool(folder, true);
    expect(spool.leftovers().dead).toEqual([{ jobId: jobOf(2), attempt: 2 }]);
    spool.remove(key(2));
    spool.close();
    expect(names()).toEqual([]);
  });

  it('gives no attempt the files of one that it found', () => {
    const { stdout } = spool.open(key(1));
    writeFileSync(stdout, 'half');
    spool = new Spool(folder, true);
    spool.open(key(2));
    expect(readFileSync(spool.at(key(1)).stdout, 'utf8')).toBe('half');
    expect(() => spool.open(key(1))).toThrow(key(1));
  });

  it('finds nothing of what is removed, whatever it had beside its logs', () => {
    writeFileSync(spool.open(key(1)).archive, 'zip');
    spool = new Spool(folder, true);
    spool.remove(key(1));
    spool.close();
    expect(names()).toEqual([]);
  });

  it('finds what a stop left', () => {
    spool.open(key(1));
    spool.close();
    expect(new Spool(folder).leftovers().dead).toEqual([{ jobId: jobOf(1), attempt: 1 }]);
  });
});
