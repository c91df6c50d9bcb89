import type { LaunchResult } from './launcher.js';
import { verdict } from './verdict.js';

const job = { command: ['dock', '-x'], limits: { wallTime: 60, killGrace: 5, output: 100 } };
const LIMITED = { ...job.limits, idleTime: 30, memory: 4096, disk: 512, fileSize: 256 };
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
    const { limit: _limit, ...told } = verdict(job, launched, intervention);
    expect(told).toEqual(
      state === 'succeeded' ? { state, exitCode } : { state, reason, message, exitCode, signal },
    );
  });

  it.each([
    ['wallTime', 'timeout', result({ cause: 'timeout', signal: 'SIGTERM' }), 'wall time of 60 s'],
    ['idleTime', 'timeout', result({ cause: 'idle', signal: 'SIGTERM' }), 'idle time of 30 s'],
    [
      'memory',
      'out_of_memory',
      result({ cause: 'out_of_memory', signal: 'SIGKILL' }),
      'memory limit of 4096',
    ],
    ['disk', 'disk_limit', result({ cause: 'disk', signal: 'SIGTERM' }), 'disk limit of 512'],
    ['fileSize', 'disk_limit', result({ signal: 'SIGXFSZ' }), 'limit of 256'],
  ] as const)('names the limit %s', (limit, reason, launched, message) => {
    expect(verdict({ ...job, limits: LIMITED }, launched, undefined)).toMatchObject({
      state: 'failed',
      limit,
      reason,
      message: expect.stringContaining(message) as string,
    });
  });

  it('of the output limit names it too', () => {
    expect(verdict(job, result({ cause: 'ended' }), 'output_limit')).toMatchObject({ limit: 'output' });
  });

  it('does not blame a limit that the job does not have', () => {
    const died = result({ signal: 'SIGXFSZ' });
    expect(verdict(job, died, undefined)).toMatchObject({ reason: 'signal' });
    expect(verdict(job, died, undefined)).not.toHaveProperty('limit');
  });

  it('on a host without room for a process costs the command no try, unless its own limit leaves none', () => {
    const full = result({ cause: 'spawn_error', error: 'fork: EAGAIN' });
    expect(verdict(job, full, undefined)).toMatchObject({ reason: 'spawn_error', infrastructure: true });
    const own = { ...job, limits: { ...job.limits, processes: 1 } };
    expect(verdict(own, full, undefined)).not.toHaveProperty('infrastructure');
    const missing = result({ cause: 'spawn_error', error: 'ENOENT' });
    expect(verdict(job, missing, undefined)).not.toHaveProperty('infrastructure');
  });
});
