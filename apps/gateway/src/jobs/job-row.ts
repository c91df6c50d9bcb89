import type { FailReason, JobState } from '#shared/job/job-state.js';
import type { Isolation, JobSpec, LimitName } from '#shared/job/job-spec.js';
import type { AttemptLimits, InputFile, Outcome, StreamSummary, Usage } from '#shared/messages/messages.js';

/** What runs: the submission with the queue's defaults worked in, as stored in `jobs.spec`. */
export interface EffectiveSpec {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly outputs: readonly string[];
  readonly limits: AttemptLimits;
  /** Absent where nobody asked for a level. */
  readonly isolation?: Isolation;
  readonly onOutputLimit: 'cut' | 'fail';
  readonly keepFullOutput?: boolean;
  readonly retry: Retry;
}

/** Pauses in seconds; `jitter` is the part of a pause that chance may take away. */
interface Retry extends Pauses {
  readonly tries: number;
  /** Reasons and exit codes; absent for every failure of the command. */
  readonly on?: readonly (string | number)[];
  readonly jitter: number;
  /** `tries`: how many failures around the command are forgiven. */
  readonly infrastructure: Pauses & { readonly tries: number };
}

/** The first pause, which doubles, and the longest one. */
interface Pauses {
  readonly backoff: number;
  readonly backoffMax: number;
}

/** An input as the row keeps it; `index` names its blob when it came as a file part. */
export type StoredInputFile = Omit<InputFile, 'href'> & { readonly index?: number };

/** A row of `jobs`. */
export interface JobRow {
  id: string;
  queue: string;
  owner: string;
  name: string | null;
  state: JobState;
  ready: boolean;
  priority: number;
  attempt: number;
  tries_left: number;
  losses_left: number;
  /** Bits of libs/shared/src/job/requirements.ts. */
  requires: number;
  spec: EffectiveSpec;
  inputs: StoredInputFile[];
  labels: Record<string, string>;
  callback: JobSpec['callback'] | null;
  created_at: Date;
  available_at: Date;
  expires_at: Date | null;
  started_at: Date | null;
  finished_at: Date | null;
  cancel_requested_at: Date | null;
  /** The attempt that is to be paused. */
  pause_attempt: number | null;
  worker_id: string | null;
  claim_id: string | null;
  lease_expires_at: Date | null;
  reason: FailReason | null;
  message: string | null;
  progress: { percent: number; message?: string } | null;
  rerun_of: string | null;
  traceparent: string | null;
}

/** Of a row that a move has just written: what follows from it. */
export const MOVED_COLUMNS = [
  'id',
  'queue',
  'owner',
  'state',
  'ready',
  'attempt',
  'reason',
  'callback',
  'available_at',
  'started_at',
  'finished_at',
  'worker_id',
] as const satisfies readonly (keyof JobRow)[];

/** With the event of that move; null when the statement repeated one. */
export type MovedJob = Pick<JobRow, (typeof MOVED_COLUMNS)[number]> & {
  event_id: string | null;
  /** For those who wait for its end. */
  whole?: WholeJob | null;
};

/** Whole, for the answer. */
export type SubmittedRow = MovedJob & JobRow;

/** With what its worker has to know. */
export type ClaimedRow = MovedJob & Pick<JobRow, 'spec' | 'inputs' | 'traceparent'>;

/** A row of `attempts`. */
export interface AttemptRow {
  job_id: string;
  attempt: number;
  worker_id: string;
  host: string | null;
  image: string | null;
  started_at: Date;
  finished_at: Date | null;
  ending: 'succeeded' | 'failed' | 'canceled' | 'lost' | 'handed_back' | null;
  reason: FailReason | null;
  limit_hit: LimitName | null;
  infrastructure: boolean;
  message: string | null;
  exit_code: number | null;
  signal: string | null;
  usage: Usage | null;
  stdout: StreamSummary | null;
  stderr: StreamSummary | null;
  outputs: Outcome['outputs'];
}

/** With its latest attempt. Times may be strings: rows come as JSON too. */
export type WholeJob = JobRow & { last: AttemptRow | null };
