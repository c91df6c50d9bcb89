import type { LaunchResult } from './launcher.js';
import { verdict } from './verdict.js';

const job = { command: ['dock', '-x'], limits: { wallTime: 60, killGrace: 5, output: 100 } };
const result = (part: Partial<LaunchResult>): LaunchResult => ({
  cause: 'exit',
  startedAt: '2026-01-01T00:00:00.000Z',
  finishedAt: '2026-01-01T00:00:01.000Z',
  wallSeconds: 1,
  ...part,
});

describe('the verdict on a command', () => {
  it.each([
    ['ends well', result({ exitCode: 0 }), undefined, 'succeeded', undefined, undefined],
    [
      'exits non-zero',
      result({ exitCode: 3 }),
      undefined,
      'failed',
      'exit_code',
      'The command exited with code 3.',
    ],
    [
      'dies',
      result({ signal: 'SIGSEGV' }),
      undefined,
      'failed',
      'signal',
      'The command died of the signal SIGSEGV.',
    ],
    [
      'is too slow, and traps the signal',
      result({ cause: 'timeout', exitCode: 0 }),
      undefined,
      'failed',
      'timeout',
      'The command was ended after its wall time of 60 s.',
    ],
    [
      'is canceled, and traps the signal',
      result({ cause: 'ended', exitCode: 0 }),
      'cancel',
      'canceled',
      undefined,
      'The command was ended because the job was canceled.',
    ],
    [
      'ends by itself before its cancel arrives',
      result({ exitCode: 0 }),
      'cancel',
      'succeeded',
      undefined,
      undefined,
    ],
    [
      'writes too much',
      result({ cause: 'ended', signal: 'SIGTERM' }),
      'output_limit',
      'failed',
      'output_limit',
      'The command wrote more than its output limit of 100 bytes.',
    ],
    [
      'is not there',
      result({ cause: 'spawn_error', error: 'ENOENT' }),
      undefined,
      'failed',
      'spawn_error',
      expect.stringContaining('The program dock was not found (ENOENT)'),
    ],
    [
      'is not executable',
      result({ cause: 'spawn_error', error: 'EACCES' }),
      undefined,
      'failed',
      'spawn_error',
      expect.stringContaining('may not be executed (EACCES)'),
    ],
  ] as const)('that %s', (_name, launched, intervention, state, reason, message) => {
    const { exitCode, signal } = launched;
    expect(verdict(job, launched, intervention)).toEqual(
      state === 'succeeded' ? { state, exitCode } : { state, reason, message, exitCode, signal },
    );
  });
});
