import type { LimitName } from '#shared/job/job-spec.js';
import type { FailReason, FinalState } from '#shared/job/job-state.js';
import type { ClaimedJob } from '#shared/messages/messages.js';
import { isFaultOfTheHost } from './attempt-failure.js';
import type { LaunchResult } from './launcher.js';

/** How an attempt ended, without its figures. */
export interface Verdict {
  readonly state: FinalState;
  readonly reason?: FailReason;
  /** Which limit ended it. */
  readonly limit?: LimitName;
  /** It failed by what is around the command, and costs it no try. */
  readonly infrastructure?: true;
  /** A whole sentence for people. */
  readonly message?: string;
  readonly exitCode?: number;
  readonly signal?: string;
}

/** What the worker itself did to the command; undefined when it was left to run. */
export type Intervention = 'cancel' | 'output_limit' | undefined;

export const CANCELED: Verdict = {
  state: 'canceled',
  message: 'The command was ended because the job was canceled.',
};

/** What the end of a command means for its job. */
export function verdict(
  { command, limits }: Pick<ClaimedJob, 'command' | 'limits'>,
  result: LaunchResult,
  intervention: Intervention,
): Verdict {
  const { exitCode, signal } = result;
  const failed = (reason: FailReason, message: string, more: Partial<Verdict> = {}): Verdict => ({
    state: 'failed',
    reason,
    message,
    exitCode,
    signal,
    ...more,
  });
  const overLimit = (limit: LimitName, reason: FailReason, message: string) =>
    failed(reason, message, { limit });
  if (intervention === 'output_limit') {
    return overLimit(
      'output',
      'output_limit',
      `The command wrote more than its output limit of ${limits.output} bytes.`,
    );
  }
  switch (result.cause) {
    case 'spawn_error':
      return notStarted(command[0] ?? '', result.error ?? 'unknown error', limits, failed);
    case 'timeout':
      return overLimit(
        'wallTime',
        'timeout',
        `The command was ended after its wall time of ${limits.wallTime} s.`,
      );
    case 'idle':
      return overLimit(
        'idleTime',
        'timeout',
        `The command was ended because it wrote nothing for its idle time of ${limits.idleTime} s.`,
      );
    case 'out_of_memory':
      return overLimit(
        'memory',
        'out_of_memory',
        `The command was killed because it needed more than its memory limit of ${limits.memory} bytes.`,
      );
    case 'disk':
      return overLimit(
        'disk',
        'disk_limit',
        `The command was ended because its files took more than its disk limit of ${limits.disk} bytes.`,
      );
    case 'ended':
      if (intervention !== 'cancel') break;
      return { ...CANCELED, exitCode, signal };
    case 'exit':
      if (exitCode === 0) return { state: 'succeeded', exitCode };
  }
  if (signal === 'SIGXFSZ' && limits.fileSize !== undefined) {
    return overLimit(
      'fileSize',
      'disk_limit',
      `The command was killed because a file grew over its limit of ${limits.fileSize} bytes (SIGXFSZ).`,
    );
  }
  return signal !== undefined
    ? failed('signal', `The command died of the signal ${signal}.`)
    : failed('exit_code', `The command exited with code ${exitCode}.`);
}

/** A process that the host has no room for is no fault of the command, unless its own limit leaves none. */
function notStarted(
  program: string,
  error: string,
  { processes }: ClaimedJob['limits'],
  failed: (reason: FailReason, message: string, more?: Partial<Verdict>) => Verdict,
): Verdict {
  const infrastructure =
    processes === undefined && isFaultOfTheHost({ code: /E[A-Z0-9]+$/.exec(error)?.[0] });
  return failed('spawn_error', spawnSentence(program, error), infrastructure ? { infrastructure } : {});
}

function spawnSentence(program: string, error: string): string {
  if (error.includes('ENOENT')) {
    return `The program ${program} was not found (ENOENT); check its spelling and that the worker's image has it.`;
  }
  if (error.includes('EACCES')) {
    return `The program ${program} may not be executed (EACCES); check that it is a program and executable.`;
  }
  return `The program ${program} could not be started (${error}).`;
}
