import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { lockFolder } from './folder-lock.js';

const lock = (folder: string) => lockFolder(folder, (pid) => new Error(`process ${pid} has it`));

describe('the lock of a folder', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), 'labhand-lock-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('refuses a second one, naming the process that has it', () => {
    const unlock = lock(folder);
    expect(() => lock(folder)).toThrow(`process ${process.pid} has it`);
    unlock();
  });

  it('is free again once given back', () => {
    lock(folder)();
    expect(existsSync(path.join(folder, 'lock'))).toBe(false);
    lock(folder)();
  });

  it('of a process that is gone is void', async () => {
    const gone = spawn('true');
    await once(gone, 'exit');
    writeFileSync(path.join(folder, 'lock'), JSON.stringify({ pid: gone.pid, started: '1' }));
    lock(folder)();
  });

  it('of an earlier process with the number of a living one is void', () => {
    writeFileSync(path.join(folder, 'lock'), JSON.stringify({ pid: process.ppid, started: '1' }));
    const unlock = lock(folder);
    expect(JSON.parse(readFileSync(path.join(folder, 'lock'), 'utf8'))).toMatchObject({ pid: process.pid });
    unlock();
  });

  it('leaves nothing beside it, taken from a living or a dead one', () => {
    writeFileSync(path.join(folder, 'lock'), '{"pid"');
    const unlock = lock(folder);
    expect(() => lock(folder)).toThrow('has it');
    expect(readdirSync(folder)).toEqual(['lock']);
    unlock();
  });

  it('cut short in the writing is void', () => {
    writeFileSync(path.join(folder, 'lock'), '{"pid"');
    lock(folder)();
  });
});
