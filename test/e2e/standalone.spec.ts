import { randomUUID } from 'node:crypto';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isAlive, StandaloneProcess } from '../support/standalone.js';

interface Job {
  id: string;
  state: string;
  attempt: number;
  logs: { stdout: { tail: string } };
}

describe('the standalone', () => {
  let folder: string;
  let standalone: StandaloneProcess;
  const signs: string[] = [];

  beforeAll(() => {
    const build = spawnSync(process.execPath, ['scripts/setup.mjs'], { encoding: 'utf8' });
    if (build.status !== 0) throw new Error(`${build.stdout}${build.stderr}`);
  });
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'labhand-standalone-'));
    // A temporary folder is closed to others; as root Postgres runs as one of them.
    spawnSync('chmod', ['711', folder]);
  });
  afterEach(async () => {
    await standalone.end('SIGKILL');
    for (const left of [folder, ...signs.splice(0)]) rmSync(left, { recursive: true, force: true });
  });

  const start = async (env = {}) => (standalone = await StandaloneProcess.start(folder, env));
  const submit = (command: string[], headers = {}) => standalone.post<Job>('/v1/jobs', { command }, headers);
  const job = (id: string) => standalone.get<Job>(`/v1/jobs/${id}?wait=30`);
  /** In memory that all share: besides its workspace that is where a job may write. */
  const newSign = () => {
    const file = path.join(existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), `labhand-${randomUUID()}`);
    signs.push(file, `${file}.up`);
    return file;
  };
  /** Its command tells that it runs by one file, and ends when it is told to by another. */
  const submitPatient = async (file: string) => {
    const script = `touch ${file}.up; until test -e ${file}; do sleep 0.02; done; echo told`;
    const submitted = await submit(['sh', '-c', script]);
    while (!existsSync(`${file}.up`)) await pause(5);
    return submitted;
  };

  it('runs a job and shows the way to itself', async () => {
    await start();
    const done = await submit(['echo', 'hello'], { prefer: 'wait=30' });
    expect(done).toMatchObject({ state: 'succeeded', logs: { stdout: { tail: 'hello\n' } } });
    const { output } = await standalone.end('SIGTERM');
    expect(output).toContain(`Address   http://127.0.0.1:`);
    expect(output).toContain(`$(cat ${folder}/admin-key)`);
    expect(statSync(path.join(folder, 'admin-key')).mode & 0o777).toBe(0o600);
  });

  it('runs the example', async () => {
    await start();
    const out = path.join(folder, 'out');
    const { stdout } = await promisify(execFile)(process.execPath, ['examples/run.mjs', '--out', out], {
      env: { PATH: process.env.PATH, LABHAND_DATA: folder },
    });
    expect(stdout).toMatch(/radius of gyration +11\.89 Å/);
    expect(stdout).toContain('A:MET1');
    const [archive] = readdirSync(out);
    expect(archive).toMatch(/^protein-contacts-.*\.zip$/);
    expect(stdout).toContain(archive);
  });

  it('keeps jobs and key when it is killed, and leaves nothing in the way of the next', async () => {
    const first = await start();
    const { key } = first;
    const { id } = await submit(['echo', 'kept'], { prefer: 'wait=30' });
    await first.end('SIGKILL');
    await start();
    expect(standalone.key).toBe(key);
    expect(await job(id)).toMatchObject({ state: 'succeeded', logs: { stdout: { tail: 'kept\n' } } });
  });

  it('runs a job again that was under way when it was killed', async () => {
    const first = await start();
    const told = newSign();
    const submitted = await submitPatient(told);
    await first.end('SIGKILL');
    writeFileSync(told, '');
    await start();
    expect(await job(submitted.id)).toMatchObject({ state: 'succeeded', attempt: 2 });
  });

  it('lets jobs end when it is told to stop, and stops all that it started', async () => {
    const first = await start();
    const told = newSign();
    const submitted = await submitPatient(told);
    const { postgresPid } = first;
    first.child.kill('SIGINT');
    await first.says('Stopping. Jobs that run get 60 s to end');
    writeFileSync(told, '');
    expect((await first.end()).code).toBe(0);
    expect(isAlive(postgresPid)).toBe(false);
    await start();
    expect(await job(submitted.id)).toMatchObject({ state: 'succeeded', attempt: 1 });
  });

  it('hands jobs back when it is told to stop twice', async () => {
    const first = await start();
    const told = newSign();
    const submitted = await submitPatient(told);
    first.child.kill('SIGINT');
    await first.says('Stopping.');
    // What comes at once counts as the same Ctrl-C.
    const again = setInterval(() => first.child.kill('SIGINT'), 200);
    await first.says('Ending the jobs that run');
    clearInterval(again);
    expect((await first.end()).code).toBe(0);
    writeFileSync(told, '');
    await start();
    expect(await job(submitted.id)).toMatchObject({ state: 'succeeded' });
  });

  it('refuses a folder in which another one works, naming it', async () => {
    await start();
    const { code, output } = await StandaloneProcess.launch(folder).end();
    expect(code).toBe(1);
    expect(output).toContain(`process ${standalone.child.pid}, works in ${folder}`);
    expect(await submit(['true'], { prefer: 'wait=30' })).toMatchObject({ state: 'succeeded' });
  });

  it('says which port is taken and how to choose another', async () => {
    await start();
    const { port } = new URL(standalone.url);
    const other = path.join(folder, 'other');
    const { code, output } = await StandaloneProcess.launch(other, { LABHAND_PORT: port }).end();
    expect(code).toBe(1);
    expect(output).toContain(`Port ${port} of 127.0.0.1 is taken`);
    expect(output).toContain('LABHAND_PORT=');
  });

  it('goes on when its Postgres is killed', async () => {
    await start();
    process.kill(standalone.postgresPid, 'SIGKILL');
    const ask = () => submit(['echo', 'again'], { prefer: 'wait=30' }).catch(() => undefined);
    let done = await ask();
    while (done?.state !== 'succeeded') done = await ask();
    expect(done.logs.stdout.tail).toBe('again\n');
  });
});
