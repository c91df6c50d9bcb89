import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { FolderLockedError, lockFolder } from './folder-lock.js';

describe('the lock of a folder', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), 'labhand-lock-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('refuses a second one, naming the process that has it', () => {
    const unlock = lockFolder(folder);
    expect(() => lockFolder(folder)).toThrow(FolderLockedError);
    expect(() => lockFolder(folder)).toThrow(`process ${process.pid}`);
    unlock();
  });

  it('is free again once given back', () => {
    lockFolder(folder)();
    expect(existsSync(path.join(folder, 'lock'))).toBe(false);
    lockFolder(folder)();
  });

  it('of a process that is gone is void', async () => {
    const gone = spawn('true');
    await once(gone, 'exit');
    writeFileSync(path.join(folder, 'lock'), JSON.stringify({ pid: gone.pid, started: '1' }));
    lockFolder(folder)();
  });

  it('of an earlier process with the number of a living one is void', () => {
    writeFileSync(path.join(folder, 'lock'), JSON.stringify({ pid: process.ppid, started: '1' }));
    const unlock = lockFolder(folder);
    expect(JSON.parse(readFileSync(path.join(folder, 'lock'), 'utf8'))).toMatchObject({ pid: process.pid });
    unlock();
  });

  it('cut short in the writing is void', () => {
    writeFileSync(path.join(folder, 'lock'), '{"pid"');
    lockFolder(folder)();
  });
});
