import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LogFile } from './log-file.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'labhand-log-'))));
afterEach(() => rmSync(folder, { recursive: true }));

test('lines of one turn stand in the file, in their order, in the next', async () => {
  const file = join(folder, 'new', 'a.log');
  const log = new LogFile(file);
  log.write('one\n');
  log.write('two\n');
  await nextTurn();
  log.write('three\n');
  await nextTurn();
  expect(readFileSync(file, 'utf8')).toBe('one\ntwo\nthree\n');
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('many lines do not wait for the end of the turn', () => {
  const file = join(folder, 'a.log');
  const log = new LogFile(file);
  for (let n = 0; n < 1000; n++) log.write(`line ${n}\n`);
  expect(readFileSync(file, 'utf8')).toMatch(/^line 0\nline 1\n/);
});

const program = (body: string) => [
  '--input-type=module',
  '-e',
  `const { LogFile } = await import(${JSON.stringify(join(process.cwd(), 'dist/libs/shared/src/logging/log-file.js'))});
   const log = new LogFile(1); ${body}`,
];

test('the last lines of a process that exits are written', () => {
  const { stdout, status } = spawnSync(process.execPath, program(`log.write('last\\n'); process.exit(3);`), {
    encoding: 'utf8',
  });
  expect({ stdout, status }).toEqual({ stdout: 'last\n', status: 3 });
});

test('a process whose log is on a full disk goes on, and ends as it would', () => {
  const stdio = ['ignore', openSync('/dev/full', 'w'), 'pipe'] as const;
  const { status, stderr } = spawnSync(
    process.execPath,
    program(`log.write('lost\\n'); setTimeout(() => { console.error('alive'); log.write('lost\\n'); }, 5);`),
    { encoding: 'utf8', stdio: [...stdio] },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: 'alive\n' });
});

test('a process whose log nobody reads any more goes on', () => {
  const line = `node ${program(
    `for (let n = 0; n < 9; n++) { log.write('x'.repeat(99999)); } console.error('alive');`,
  )
    .map((part) => `'${part.replaceAll("'", "'\\''")}'`)
    .join(' ')} | true`;
  expect(spawnSync('sh', ['-c', line], { encoding: 'utf8' }).stderr).toBe('alive\n');
});
