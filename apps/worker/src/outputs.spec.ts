import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPromise } from 'yauzl';
import { matcher, selectOutputs, takeSnapshot } from './output-files.js';
import { packOutputs } from './outputs.js';
import { Spool, SpoolFiles } from './spool.js';

describe('output globs', () => {
  const taken = (globs: string[], paths: string[]) => paths.filter(matcher(globs));

  it('take everything but dot files by default', () =>
    expect(taken([], ['a', 'b/c.txt', '.cache', 'b/.d', '.e/f'])).toEqual(['a', 'b/c.txt']));
  it('take dot files where they say so', () =>
    expect(taken(['.config', '**/.d'], ['.config', 'b/.d', '.x'])).toEqual(['.config', 'b/.d']));
  it('take what is in a folder that they name', () =>
    expect(taken(['results/'], ['results/a', 'results/b/c', 'other'])).toEqual(['results/a', 'results/b/c']));
  it('leave what starts with an exclamation mark', () =>
    expect(taken(['!*.tmp'], ['a.tmp', 'b.pdb'])).toEqual(['b.pdb']));
  it('match names and depths', () =>
    expect(taken(['./*.pdb', 'logs/**/*.log'], ['a.pdb', 'b/c.pdb', 'logs/x/y.log'])).toEqual([
      'a.pdb',
      'logs/x/y.log',
    ]));
});

describe('outputs', () => {
  let folder: string;
  let work: string;
  let spool: SpoolFiles;
  const never = new AbortController().signal;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'labhand-outputs-'));
    work = join(folder, 'work');
    mkdirSync(work);
    spool = new Spool(folder).open('a');
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const file = (path: string) => join(work, path);

  it('are the new and the changed files, and no links', async () => {
    writeFileSync(file('kept.pdb'), 'same');
    writeFileSync(file('grown.txt'), 'a');
    writeFileSync(file('touched.txt'), 'a');
    const before = await takeSnapshot(work);
    writeFileSync(file('grown.txt'), 'ab');
    utimesSync(file('touched.txt'), 1, 1);
    mkdirSync(file('deep/er'), { recursive: true });
    writeFileSync(file('deep/er/new'), '');
    symlinkSync('/etc', file('etc'));
    symlinkSync('/etc/passwd', file('passwd'));
    writeFileSync(file('back\\slash'), '');
    const { files, unusable } = await selectOutputs(work, before, []);
    expect(files.map(({ path }) => path)).toEqual(['deep/er/new', 'grown.txt', 'touched.txt']);
    expect(unusable).toBe(1);
  });

  it('are packed with their times, modes and hashes; what does not get smaller is stored', async () => {
    const contents: Record<string, Buffer> = {
      'a/table.csv': Buffer.alloc(200_000, '1,2,3\n'),
      'noise.bin': randomBytes(200_000),
      'run.sh': Buffer.from('#!/bin/sh\n'),
    };
    mkdirSync(file('a'));
    for (const [path, content] of Object.entries(contents)) writeFileSync(file(path), content);
    chmodSync(file('run.sh'), 0o755);
    utimesSync(file('run.sh'), 1_700_000_000, 1_700_000_000);

    const { summary, note } = await packOutputs(work, new Map(), [], spool, never);
    const archive = readFileSync(spool.archive);
    expect(note).toBeUndefined();
    expect(summary).toEqual({ files: 3, bytes: 400_010, archiveBytes: archive.length });
    expect(JSON.parse(readFileSync(spool.listing, 'utf8'))).toEqual(
      Object.entries(contents).map(([path, content]) => ({
        path,
        size: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
      })),
    );

    const zip = await openPromise(spool.archive);
    const methods: Record<string, number> = {};
    for await (const entry of zip.eachEntry()) {
      methods[entry.fileName] = entry.compressionMethod;
      const chunks: Buffer[] = [];
      for await (const chunk of await zip.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
      expect(Buffer.concat(chunks).equals(contents[entry.fileName]!)).toBe(true);
      if (entry.fileName !== 'run.sh') continue;
      expect((entry.externalFileAttributes >>> 16) & 0o777).toBe(0o755);
      expect(entry.getLastModDate().getTime()).toBe(1_700_000_000_000);
    }
    expect(methods).toEqual({ 'a/table.csv': 8, 'noise.bin': 0, 'run.sh': 0 });
  });

  it('are nothing when no file is new', async () => {
    writeFileSync(file('input'), 'x');
    const before = await takeSnapshot(work);
    expect(await packOutputs(work, before, [], spool, never)).toEqual({ summary: null, note: undefined });
    expect((await readdir(join(folder, 'attempts'))).sort()).toEqual(['0.stderr', '0.stdout', 'held']);
  });

  it('that cannot be packed leave nothing half-made', async () => {
    writeFileSync(file('a'), 'x');
    await expect(
      packOutputs(work, new Map(), [], new SpoolFiles(join(folder, 'none/a')), never),
    ).rejects.toMatchObject({
      reason: 'output_error',
      message: expect.stringMatching(/^The output files could not be packed: .*ENOENT.*\.$/),
    });
  });

  it('stop being packed when the attempt is ended', async () => {
    for (let i = 0; i < 50; i++) writeFileSync(file(String(i)), randomBytes(100_000));
    const ended = new AbortController();
    const packing = packOutputs(work, new Map(), [], spool, ended.signal);
    ended.abort(new Error('ended'));
    await expect(packing).rejects.toThrow('ended');
    expect((await readdir(join(folder, 'attempts'))).sort()).toEqual(['0.stderr', '0.stdout', 'held']);
  });

  it('end no worker, at whatever moment the attempt is ended', () => {
    for (let i = 0; i < 20; i++) writeFileSync(file(String(i)), randomBytes(100_000));
    // In a process of its own: Jest forgives a failure that somebody hears of later, Node does not.
    expect(
      execFileSync(process.execPath, ['--input-type=module', '-e', ENDED_AT_MANY_MOMENTS, folder]),
    ).toEqual(Buffer.from('ended 100 times'));
  });
});

const ENDED_AT_MANY_MOMENTS = `
  import { join } from 'node:path';
  import { setImmediate as nextTurn } from 'node:timers/promises';
  import { packOutputs } from '#worker/outputs.js';
  import { Spool } from '#worker/spool.js';

  const folder = process.argv[1];
  const spool = new Spool(folder).open('b');
  let times = 0;
  for (let moment = 0; moment < 100; moment++) {
    const ended = new AbortController();
    const packing = packOutputs(join(folder, 'work'), new Map(), [], spool, ended.signal).catch(() => times++);
    const due = performance.now() + moment / 10;
    while (performance.now() < due) await nextTurn();
    ended.abort(new Error('ended'));
    await packing;
  }
  process.stdout.write('ended ' + times + ' times');
`;
