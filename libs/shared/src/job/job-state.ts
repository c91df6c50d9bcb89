/**
 * The states of a job and the moves between them, as one pure table. The gateway's lifecycle and the
 * database's CHECK constraints repeat it; nothing else decides what may follow what.
 */

export const JOB_STATES = ['held', 'queued', 'running', 'paused', 'succeeded', 'failed', 'canceled'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** A final state never changes and has exactly one final event. */
export const FINAL_STATES = ['succeeded', 'failed', 'canceled'] as const satisfies readonly JobState[];
export type FinalState = (typeof FINAL_STATES)[number];

/** An attempt is under way: a worker holds a lease on it. */
export const ACTIVE_STATES = ['running', 'paused'] as const satisfies readonly JobState[];

/** Why a job failed; each comes with a sentence for people. */
export const FAIL_REASONS = [
  'exit_code',
  'signal',
  'timeout',
  'out_of_memory',
  'output_limit',
  'disk_limit',
  'spawn_error',
  'input_error',
  'output_error',
  'worker_lost',
  'expired',
] as const;
export type FailReason = (typeof FAIL_REASONS)[number];

export type JobMove =
  | 'hold'
  | 'release'
  | 'claim'
  | 'pause'
  | 'resume'
  | 'finish'
  | 'retry'
  | 'reclaim'
  | 'handBack'
  | 'cancel'
  | 'expire';

interface MoveRule {
  readonly from: readonly JobState[];
  readonly to: readonly JobState[];
}

export const JOB_MOVES: Readonly<Record<JobMove, MoveRule>> = {
  hold: { from: ['queued'], to: ['held'] },
  release: { from: ['held'], to: ['queued'] },
  claim: { from: ['queued'], to: ['running'] },
  pause: { from: ['running'], to: ['paused'] },
  resume: { from: ['paused'], to: ['running'] },
  finish: { from: ACTIVE_STATES, to: FINAL_STATES },
  retry: { from: ACTIVE_STATES, to: ['queued'] },
  reclaim: { from: ACTIVE_STATES, to: ['queued', 'failed', 'canceled'] },
  handBack: { from: ACTIVE_STATES, to: ['queued', 'canceled'] },
  cancel: { from: ['held', 'queued'], to: ['canceled'] },
  expire: { from: ['queued'], to: ['failed'] },
};

export function isFinal(state: JobState): state is FinalState {
  return (FINAL_STATES as readonly JobState[]).includes(state);
}

/** Whether `move` may take a job from `from` to `to`. */
export function mayMove(move: JobMove, from: JobState, to: JobState): boolean {
  const rule = JOB_MOVES[move];
  return rule.from.includes(from) && rule.to.includes(to);
}
