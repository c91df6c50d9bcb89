import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBeneath } from './beneath.js';
import { takeSnapshot } from './output-files.js';
import { PartialFiles } from './partial-files.js';

describe('the files of a running command', () => {
  let root: string;
  let work: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'labhand-partial-'));
    work = join(root, 'work');
    mkdirSync(join(work, 'deep/er'), { recursive: true });
    writeFileSync(join(root, 'secret'), 'secret');
    mkdirSync(join(root, 'other'));
    writeFileSync(join(root, 'other/secret'), 'secret');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const access = { jobId: 'j', attempt: 1, filesToken: 't' };
  const write = (path: string, text = path) => writeFileSync(join(work, path), text);
  async function listed(globs: string[] = ['**'], path?: string): Promise<string[]> {
    const before = await takeSnapshot(work);
    write('deep/new.txt');
    write('new.log');
    const { files } = await new PartialFiles(access, work, before, globs).list(path);
    return files!.map((file) => file.path);
  }

  it('are those that would be its outputs: new or changed, and asked for', async () => {
    write('input.txt');
    expect(await listed()).toEqual(['deep/new.txt', 'new.log']);
  });

  it('are those that would be its outputs, asked for by name too', async () => {
    write('input.txt');
    expect(await listed(['**'], 'deep/new.txt')).toEqual(['deep/new.txt']);
    expect(await listed(['**'], 'input.txt')).toEqual([]);
    expect(await listed(['*.log'], 'deep/new.txt')).toEqual([]);
    expect(await listed(['**'], '../secret')).toEqual([]);
  });

  it('have sizes and times', async () => {
    const before = await takeSnapshot(work);
    write('a', 'abc');
    const { files, more } = await new PartialFiles(access, work, before, ['**']).list(undefined);
    expect(files).toEqual([{ path: 'a', size: 3, modifiedAt: expect.stringMatching(/^\d{4}-.*Z$/) }]);
    expect(more).toBe(false);
  });

  it('do not lie behind links, wherever on the way one stands', async () => {
    symlinkSync(join(root, 'secret'), join(work, 'link'));
    symlinkSync(join(root, 'other'), join(work, 'folder'));
    symlinkSync('../../other', join(work, 'deep/folder'));
    expect(await listed()).toEqual(['deep/new.txt', 'new.log']);
    for (const path of ['link', 'folder/secret', 'deep/folder/secret', 'deep/../../secret']) {
      expect(openBeneath(work, path)).toBeUndefined();
    }
  });

  it('are no pipes and no folders', () => {
    execFileSync('mkfifo', [join(work, 'pipe')]);
    expect(openBeneath(work, 'pipe')).toBeUndefined();
    expect(openBeneath(work, 'deep')).toBeUndefined();
    expect(openBeneath(work, 'missing')).toBeUndefined();
  });

  it('are opened, and every folder on the way is let go of', () => {
    write('deep/er/file', 'content');
    // Of this folder alone: the process has others, which come and go.
    const open = () =>
      execFileSync('sh', ['-c', `ls -l /proc/${process.pid}/fd 2>/dev/null | grep -cF "${root}" || true`]);
    const found = openBeneath(work, 'deep/er/file')!;
    expect(readFileSync(found.fd, 'utf8')).toBe('content');
    expect(Number(open())).toBe(1);
    closeSync(found.fd);
    openBeneath(work, 'deep/er/none');
    expect(Number(open())).toBe(0);
  });
});
