import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isWorkerReady, noteHealth, removeHealthNote } from './health-note.js';

describe('the note that a worker is ready', () => {
  let stateDir: string;
  beforeEach(() => (stateDir = mkdtempSync(join(tmpdir(), 'labhand-health-'))));
  afterEach(() => rmSync(stateDir, { recursive: true }));

  it('counts while it is fresh, and says so', () => {
    expect(isWorkerReady(stateDir)).toBe(false);
    noteHealth(stateDir, false);
    expect(isWorkerReady(stateDir)).toBe(false);
    noteHealth(stateDir, true);
    expect(isWorkerReady(stateDir)).toBe(true);
    removeHealthNote(stateDir);
    expect(isWorkerReady(stateDir)).toBe(false);
  });

  it('counts no more when the worker stopped to renew it', () => {
    writeFileSync(join(stateDir, 'health.json'), JSON.stringify({ at: Date.now() - 60_000, ready: true }));
    expect(isWorkerReady(stateDir)).toBe(false);
  });
});
