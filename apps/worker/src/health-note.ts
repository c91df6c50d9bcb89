import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Milliseconds between two notes. */
export const NOTE_EVERY_MS = 5_000;
/** A note older than this is of a worker that hangs or is gone. */
const STALE_AFTER_MS = 20_000;

/** Notes in the state directory that the worker lives, and whether it is ready. */
export function noteHealth(stateDir: string, ready: boolean): void {
  try {
    writeFileSync(noteFile(stateDir), JSON.stringify({ at: Date.now(), ready }));
  } catch {
    // A full disk must not end the worker; the note goes stale, which is the truth.
  }
}

export function removeHealthNote(stateDir: string): void {
  rmSync(noteFile(stateDir), { force: true });
}

/** Whether the worker of this state directory noted itself ready a moment ago; for a container's health check. */
export function isWorkerReady(stateDir: string): boolean {
  try {
    const { at, ready } = JSON.parse(readFileSync(noteFile(stateDir), 'utf8'));
    return ready === true && Date.now() - at < STALE_AFTER_MS;
  } catch {
    return false;
  }
}

function noteFile(stateDir: string): string {
  return join(stateDir, 'health.json');
}
