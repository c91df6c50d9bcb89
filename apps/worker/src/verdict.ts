import type { FailReason, FinalState } from '#shared/job/job-state.js';
import type { ClaimedJob } from '#shared/messages/messages.js';
import type { LaunchResult } from './launcher.js';

/** How an attempt ended, without its figures. */
export interface Verdict {
  readonly state: FinalState;
  readonly reason?: FailReason;
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
  const failed = (reason: FailReason, message: string): Verdict => ({
    state: 'failed',
    reason,
    message,
    exitCode,
    signal,
  });
  if (intervention === 'output_limit') {
    return failed('output_limit', `The command wrote more than its output limit of ${limits.output} bytes.`);
  }
  switch (result.cause) {
    case 'spawn_error':
      return failed('spawn_error', spawnSentence(command[0] ?? '', result.error ?? 'unknown error'));
    case 'timeout':
      return failed('timeout', `The command was ended after its wall time of ${limits.wallTime} s.`);
    case 'ended':
      if (intervention !== 'cancel') break;
      return { ...CANCELED, exitCode, signal };
    case 'exit':
      if (exitCode === 0) return { state: 'succeeded', exitCode };
  }
  return signal !== undefined
    ? failed('signal', `The command died of the signal ${signal}.`)
    : failed('exit_code', `The command exited with code ${exitCode}.`);
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
