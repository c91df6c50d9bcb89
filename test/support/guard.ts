import { spawn, type ChildProcess } from 'node:child_process';

/**
 * A shell that cleans up when its input ends, which it also does when the test run is killed. Nothing of it keeps
 * the run alive.
 */
export function startGuard(script: string, argument: string): ChildProcess {
  const guard = spawn('sh', ['-c', script, argument], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.on('error', () => undefined);
  guard.unref();
  (guard.stdin as unknown as { unref(): void }).unref();
  return guard;
}
