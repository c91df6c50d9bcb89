import { Injectable } from '@nestjs/common';
import { maskOf, requirementsOf } from '#shared/job/requirements.js';
import type { Claim, Finished, Lost, Paused } from '#shared/messages/messages.js';
import { Database, LIGHTLY, type Prepared, type Statements, type Told } from '../database/database.js';
import { storable } from '../database/storable-text.js';
import {
  MOVED_COLUMNS,
  type ClaimedRow,
  type EffectiveSpec,
  type JobRow,
  type MovedJob,
  type SubmittedRow,
} from './job-row.js';

/**
 * Every move of a job, one verb each: one guarded statement that changes the row and, through `record_event`,
 * leaves its event and deliveries in the same transaction. Nothing else writes `state`.
 *
 * A verb answers with the rows that it moved. What the guard did not let through is not in the answer. The moves that
 * every job makes are committed lightly: all jobs of one owner lock its lane, which must not be held over a flush.
 */

/** Few, for each is described, sent and read for every job. */
const fieldsOf = (columns: readonly string[], row = 'job') =>
  columns.map((column) => `(${row}).${column}`).join(', ');
const MOVED = fieldsOf(MOVED_COLUMNS);

/** Moves and records: `change` is an INSERT or UPDATE of jobs, without RETURNING. */
const move = (change: string, fields = MOVED) =>
  `WITH moved AS (${change} RETURNING jobs AS job) SELECT ${fields}, record_event(job) AS event_id FROM moved`;

const SUBMIT = move(
  `
  INSERT INTO jobs (id, queue, owner, name, state, ready, priority, tries_left, losses_left, requires, spec, inputs, labels,
                    callback, available_at, expires_at, rerun_of, traceparent)
  SELECT id, queue, owner, name, CASE WHEN hold THEN 'held' ELSE 'queued' END, NOT hold AND delay <= 0, priority,
         tries_left, losses_left, requires, spec, inputs, labels, callback, now() + make_interval(secs => delay),
         now() + make_interval(secs => ttl), "rerunOf", traceparent
  FROM jsonb_to_recordset($1) AS job (id uuid, queue text, owner text, name text, hold boolean, delay float,
    priority smallint, tries_left integer, losses_left integer, requires integer, spec jsonb, inputs jsonb, labels jsonb, callback jsonb,
    ttl float, "rerunOf" uuid, traceparent text)`,
  '(job).*',
);

const SUBMIT_LIGHTLY = `${SUBMIT}, ${LIGHTLY}`;

const HOLD = move(`
  UPDATE jobs SET state = 'held', ready = false WHERE id = $1 AND state = 'queued'`);

const RELEASE = move(`
  UPDATE jobs SET state = 'queued', ready = available_at <= now() WHERE id = $1 AND state = 'held'`);

const CANCEL_WAITING = move(`
  UPDATE jobs SET state = 'canceled', ready = false, finished_at = now(), cancel_requested_at = now(),
    message = 'Canceled before it ran.'
  WHERE id = $1 AND state IN ('held', 'queued')`);

/** The intent only: the worker ends the tree, and its report moves the job. */
const CANCEL_RUNNING = `
  UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, now())
  WHERE id = $1 AND state IN ('running', 'paused') RETURNING ${MOVED_COLUMNS.join(', ')}, NULL AS event_id`;

/** Intents only: the worker stops the tree or lets it go on, and what it confirms moves the job. */
const ASK_PAUSE = `
  UPDATE jobs SET pause_attempt = attempt
  WHERE id = $1 AND state IN ('running', 'paused') RETURNING ${MOVED_COLUMNS.join(', ')}, NULL AS event_id`;

const ASK_RESUME = `
  UPDATE jobs SET pause_attempt = NULL
  WHERE id = $1 AND state IN ('running', 'paused') RETURNING ${MOVED_COLUMNS.join(', ')}, NULL AS event_id`;

/** What a worker confirms counts as long as it is still wanted: a late word must not undo a newer one. */
const PAUSE = move(`
  UPDATE jobs SET state = 'paused'
  WHERE id = $1 AND attempt = $2 AND worker_id = $3 AND state = 'running' AND pause_attempt = attempt`);

const RESUME = move(`
  UPDATE jobs SET state = 'running'
  WHERE id = $1 AND attempt = $2 AND worker_id = $3 AND state = 'paused' AND pause_attempt IS DISTINCT FROM attempt`);

const CLAIMED = fieldsOf([...MOVED_COLUMNS, 'spec', 'inputs', 'traceparent'], 'taken.job');

/**
 * Those of one worker in one queue together, the others one after the other: the function sees what the one before it
 * took. As JSON, for of arrays the planner knows the length, finds a plan for just so many cheaper than the one that it
 * keeps, and plans each claim anew.
 */
const CLAIM = `
  SELECT (taken.job).claim_id, ${CLAIMED}, taken.event_id
  FROM jsonb_to_recordset($1) AS asked (queue text, worker text, claims uuid[]),
       LATERAL claim_jobs(asked.queue, asked.worker, asked.claims, make_interval(secs => $2), make_interval(secs => $3))
         AS taken, ${LIGHTLY}`;

/**
 * Said by its state where the job is known: of `lease_expires_at IS NOT NULL` the planner knows that few have one, and
 * looks through all of these for one that it was given the id of.
 */
const WITH_LEASE = `j.state IN ('running', 'paused')`;

/**
 * A failed try goes back to its queue while its allowance lasts, after a pause; unless somebody wants the job
 * canceled. Rows are locked in the order of their ids, as everywhere where one statement moves many.
 */
const FINISH = `
  WITH report AS (
    SELECT r.*, j.id AS known, CASE WHEN r.state = 'failed' AND j.cancel_requested_at IS NULL THEN
             pause_before_retry(j.spec->'retry', r.infrastructure, j.tries_left, j.losses_left, r.reason, r.exit_code)
           END AS pause
    FROM jsonb_to_recordset($1) AS r (job_id uuid, attempt integer, state text, reason text, limit_hit text,
      infrastructure boolean, message text, exit_code integer, signal text, started_at timestamptz,
      finished_at timestamptz, usage jsonb, stdout jsonb, stderr jsonb, outputs jsonb)
    JOIN jobs j ON j.id = r.job_id AND j.attempt = r.attempt AND ${WITH_LEASE}
    -- true of all; without it the planner expects a hundred reports and reads all jobs instead of asking the index
    WHERE r.attempt BETWEEN 1 AND 2147483647
    ORDER BY j.id FOR UPDATE OF j
  ), ended AS (
    UPDATE attempts SET ending = r.state, reason = r.reason, limit_hit = r.limit_hit,
      infrastructure = r.infrastructure, message = r.message, exit_code = r.exit_code, signal = r.signal,
      finished_at = r.finished_at, started_at = r.started_at, usage = r.usage, stdout = r.stdout, stderr = r.stderr,
      outputs = r.outputs
    FROM report r WHERE attempts.job_id = r.job_id AND attempts.attempt = r.attempt
    RETURNING attempts AS attempt
  ), moved AS (
    UPDATE jobs SET
      state = CASE WHEN r.pause IS NULL THEN r.state ELSE 'queued' END,
      ready = r.pause IS NOT NULL AND r.pause <= 0,
      available_at = CASE WHEN r.pause IS NULL THEN available_at ELSE now() + make_interval(secs => r.pause) END,
      tries_left = CASE WHEN r.pause IS NULL OR r.infrastructure THEN tries_left ELSE tries_left - 1 END,
      losses_left = CASE WHEN r.pause IS NULL OR NOT r.infrastructure THEN losses_left ELSE losses_left - 1 END,
      reason = CASE WHEN r.pause IS NULL THEN r.reason END,
      message = CASE WHEN r.state = 'failed' AND r.pause IS NULL
        THEN concat_ws(' ', r.message, tries_made(spec->'retry', r.infrastructure, tries_left)) ELSE r.message END,
      finished_at = CASE WHEN r.pause IS NULL THEN now() END,
      lease_expires_at = NULL, worker_id = NULL, claim_id = NULL
    FROM report r
    WHERE jobs.id = r.job_id AND jobs.state IN ('running', 'paused') AND jobs.attempt = r.attempt
    RETURNING jobs AS job
  )
  SELECT ${MOVED}, record_event(job) AS event_id, CASE WHEN (job).id = ANY ($2::uuid[]) THEN
    to_jsonb(job) || jsonb_build_object('last', (SELECT to_jsonb(attempt) FROM ended WHERE (attempt).job_id = (job).id))
  END AS whole FROM moved, ${LIGHTLY}`;

/** Seconds until a job runs again whose attempt is over without a report; NULL when it does not. */
const PAUSE_AFTER_LOSS = `CASE WHEN j.cancel_requested_at IS NULL THEN
  pause_before_retry(j.spec->'retry', true, j.tries_left, j.losses_left, 'worker_lost', NULL) END`;
const PAUSE_AFTER_DRAIN = 'CASE WHEN j.cancel_requested_at IS NULL THEN 0 END';

/** Attempts that are over without a report: their jobs go back to the queue while the allowance lasts. */
const giveBack = (whose: (pause: string) => string, ending: 'lost' | 'handed_back') => `
  WITH gone AS (${whose(ending === 'lost' ? PAUSE_AFTER_LOSS : PAUSE_AFTER_DRAIN)} ORDER BY j.id FOR UPDATE OF j SKIP LOCKED),
  ended AS (
    UPDATE attempts SET ending = '${ending}', finished_at = now(), infrastructure = true, message = $1,
      reason = ${ending === 'lost' ? "'worker_lost'" : 'NULL'}
    FROM gone WHERE attempts.job_id = gone.id AND attempts.attempt = gone.attempt AND attempts.ending IS NULL
  ), moved AS (
    UPDATE jobs SET
      state = CASE WHEN gone.pause IS NOT NULL THEN 'queued'
                   WHEN jobs.cancel_requested_at IS NOT NULL THEN 'canceled' ELSE 'failed' END,
      ready = gone.pause IS NOT NULL AND gone.pause <= 0,
      available_at = CASE WHEN gone.pause > 0 THEN now() + make_interval(secs => gone.pause) ELSE jobs.available_at END,
      losses_left = ${ending === 'lost' ? 'greatest(jobs.losses_left - 1, 0)' : 'jobs.losses_left'},
      reason = CASE WHEN gone.pause IS NULL AND jobs.cancel_requested_at IS NULL THEN 'worker_lost' END,
      message = CASE WHEN gone.pause IS NULL AND jobs.cancel_requested_at IS NULL
        THEN concat_ws(' ', $1::text, tries_made(jobs.spec->'retry', true, jobs.tries_left)) ELSE $1 END,
      finished_at = CASE WHEN gone.pause IS NULL THEN now() END,
      lease_expires_at = NULL, worker_id = NULL, claim_id = NULL, progress = NULL
    FROM gone WHERE jobs.id = gone.id AND jobs.attempt = gone.attempt AND jobs.state IN ('running', 'paused')
    RETURNING jobs AS job
  )
  SELECT ${MOVED}, record_event(job) AS event_id FROM moved`;

const oneAttempt = (pause: string) => `
  SELECT j.id, j.attempt, ${pause} AS pause FROM jobs j
  WHERE j.id = $2 AND j.attempt = $3 AND j.worker_id = $4 AND ${WITH_LEASE}`;

/** Whose leases end before a time of the database's clock. */
const leasesBefore = (pause: string, which = 'true') =>
  `SELECT j.id, j.attempt, ${pause} AS pause FROM jobs j WHERE j.lease_expires_at < $3 AND j.id = ANY (
     SELECT id FROM jobs WHERE lease_expires_at < $3 AND ${which} ORDER BY lease_expires_at LIMIT $2)`;

const RECLAIM = giveBack((pause) => leasesBefore(pause), 'lost');
const RECLAIM_CANCELED = giveBack((pause) => leasesBefore(pause, 'cancel_requested_at IS NOT NULL'), 'lost');
const LOSE = giveBack(oneAttempt, 'lost');
const LOSE_ALL_BUT = giveBack(
  (pause) => `
  SELECT j.id, j.attempt, ${pause} AS pause FROM jobs j
  WHERE j.worker_id = $2 AND j.lease_expires_at IS NOT NULL AND j.id <> ALL ($3) AND j.started_at < $4`,
  'lost',
);
const HAND_BACK = giveBack(oneAttempt, 'handed_back');

/** What an attempt without an outcome comes to, and the sentence about it. */
const LOST: Record<Lost['cause'], readonly [statement: string, message: string]> = {
  drain: [HAND_BACK, 'Its worker was shut down and handed it back.'],
  no_turn: [HAND_BACK, 'Its worker had taken it ahead, and handed it back before it began.'],
  worker_died: [LOSE, 'Its worker ended while it ran.'],
};

const EXPIRE = move(`
  UPDATE jobs SET state = 'failed', ready = false, reason = 'expired', finished_at = now(),
    message = 'It waited longer than its time to live.'
  WHERE id IN (SELECT id FROM jobs WHERE state = 'queued' AND expires_at <= now()
               ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) AND state = 'queued'`);

/** Not a move: the state stays `queued`, its time has come. */
const STAGE = `
  UPDATE jobs SET ready = true
  WHERE id IN (SELECT id FROM jobs WHERE state = 'queued' AND NOT ready AND available_at <= now()
               ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) AND state = 'queued' RETURNING queue`;

/** Rows that one statement of a chore moves at most. */
const CHUNK = 500;

export interface NewJob {
  readonly id: string;
  readonly queue: string;
  readonly owner: string;
  readonly name: string | undefined;
  readonly hold: boolean;
  /** Seconds from now. */
  readonly delay: number;
  /** Seconds from now; undefined for never. */
  readonly ttl: number | undefined;
  readonly priority: number;
  readonly spec: EffectiveSpec;
  readonly inputs: JobRow['inputs'];
  readonly labels: Readonly<Record<string, string>>;
  readonly callback: JobRow['callback'];
  /** The job that it repeats. */
  readonly rerunOf?: string;
  readonly traceparent: string | undefined;
}

@Injectable()
export class JobLifecycle {
  constructor(private readonly database: Database) {}

  /**
   * Accepts jobs, all or none.
   * @param told as of `Database.lightly`
   * @returns their rows, in the same order
   */
  async submit(jobs: readonly NewJob[], told?: Told<MovedJob>): Promise<SubmittedRow[]> {
    return inOrderOf(jobs, await this.database.lightly<SubmittedRow>(toSubmit(jobs), told));
  }

  /**
   * Accepts jobs for which claims wait: both, one after the other.
   * @param lease seconds
   * @param told of the jobs, as of `Database.lightly`
   * @returns as of `submit`; and as of `claim`, or why that failed, which undoes no submission
   */
  async submitAndClaim(
    jobs: readonly NewJob[],
    claims: readonly Claim[],
    lease: number,
    told?: Told<MovedJob>,
  ): Promise<[SubmittedRow[], (ClaimedRow | undefined)[] | Error]> {
    const [rows, taken] = await this.database.bothLightly<SubmittedRow, AnsweredRow>(
      toSubmit(jobs),
      toClaim(claims, lease),
      told,
    );
    return [inOrderOf(jobs, rows), taken instanceof Error ? taken : inOrder(claims, taken)];
  }

  /** Accepts one in a transaction in which the caller writes rows of its own. */
  async submitWithin(statements: Statements, job: NewJob): Promise<SubmittedRow> {
    return (await statements.one<SubmittedRow>(SUBMIT, submitted([job])))!;
  }

  hold(id: string): Promise<MovedJob | undefined> {
    return this.database.one<MovedJob>(HOLD, [id]);
  }

  release(id: string): Promise<MovedJob | undefined> {
    return this.database.one<MovedJob>(RELEASE, [id]);
  }

  /**
   * A waiting job is canceled at once; of one that runs the intent is noted, its state stays. Between the two
   * statements a job may begin to run or go back to its queue, so both are asked again.
   */
  async cancel(id: string): Promise<MovedJob | undefined> {
    for (let round = 0; round < 3; round++) {
      const moved =
        (await this.database.one<MovedJob>(CANCEL_WAITING, [id])) ??
        (await this.database.one<MovedJob>(CANCEL_RUNNING, [id]));
      if (moved) return moved;
    }
    return undefined;
  }

  /** Notes that the attempt under way is to be paused. @returns the row, whose state stays; undefined when none is */
  askPause(id: string): Promise<MovedJob | undefined> {
    return this.database.one<MovedJob>(ASK_PAUSE, [id]);
  }

  /** Takes that back. */
  askResume(id: string): Promise<MovedJob | undefined> {
    return this.database.one<MovedJob>(ASK_RESUME, [id]);
  }

  /** The worker has stopped the tree. */
  pause({ jobId, attempt, workerId }: Paused): Promise<MovedJob | undefined> {
    return this.database.one<MovedJob>(PAUSE, [jobId, attempt, workerId]);
  }

  /** The worker has let the tree go on. */
  resume({ jobId, attempt, workerId }: Paused): Promise<MovedJob | undefined> {
    return this.database.one<MovedJob>(RESUME, [jobId, attempt, workerId]);
  }

  /**
   * Gives each claim the next job of its queue.
   * @param lease seconds
   * @returns for each claim, in order, its job or undefined
   */
  async claim(claims: readonly Claim[], lease: number): Promise<(ClaimedRow | undefined)[]> {
    return inOrder(claims, await this.database.lightly<AnsweredRow>(toClaim(claims, lease)));
  }

  /**
   * Records how attempts ended; reports of attempts that are not current move nothing.
   * @param awaited ids of jobs for whose end somebody waits: they are given back whole
   * @param told as of `Database.lightly`
   */
  finish(
    reports: readonly Finished[],
    awaited: readonly string[] = [],
    told?: Told<MovedJob>,
  ): Promise<MovedJob[]> {
    return this.database.lightly(toFinish(reports, awaited), told);
  }

  /**
   * Both, for slots that are free now and want their next jobs: a claim sees what the reports have freed. Reports may
   * have waited for long, so their claims count only while the worker is there.
   * @param lease seconds
   * @param heardWithin seconds of silence after which a worker is not there
   * @param awaited as of `finish`
   * @param told of what the reports moved
   * @returns what the reports moved; and as of `claim`, or why that failed, which undoes no report
   */
  async finishAndClaim(
    reports: readonly Finished[],
    claims: readonly Claim[],
    { lease, heardWithin }: { lease: number; heardWithin: number },
    awaited: readonly string[] = [],
    told?: Told<MovedJob>,
  ): Promise<[MovedJob[], (ClaimedRow | undefined)[] | Error]> {
    const [moved, taken] = await this.database.bothLightly<MovedJob, AnsweredRow>(
      toFinish(reports, awaited),
      toClaim(claims, lease, heardWithin),
      told,
    );
    return [moved, taken instanceof Error ? taken : inOrder(claims, taken)];
  }

  /** An attempt that its worker reports as dead, or hands back. */
  async lose({ jobId, attempt, workerId, cause }: Lost): Promise<MovedJob | undefined> {
    const [statement, message] = LOST[cause];
    return this.database.one<MovedJob>(statement, [message, jobId, attempt, workerId]);
  }

  /**
   * What a worker had before it was started anew.
   * @param jobIds of which it has still to report
   * @param before it was given nothing by this run until then, by the database's clock
   */
  loseAllBut(workerId: string, jobIds: readonly string[], before: Date): Promise<MovedJob[]> {
    return this.database.query<MovedJob>(LOSE_ALL_BUT, [
      'Its worker ended while it ran.',
      workerId,
      jobIds,
      before,
    ]);
  }

  /**
   * Takes back what runs on workers that were not heard of for a whole lease.
   * @param asOf of the database's clock: leases that had not run out by then are left alone
   */
  reclaim(asOf = new Date()): Promise<MovedJob[]> {
    return this.database.query<MovedJob>(RECLAIM, ['Its worker was not heard of any more.', CHUNK, asOf]);
  }

  /** Ends canceled jobs whose leases run out before a time of the database's clock: nobody is left to end them. */
  reclaimCanceled(before: Date): Promise<MovedJob[]> {
    return this.database.query<MovedJob>(RECLAIM_CANCELED, [
      'It was canceled, and its worker was not heard of any more.',
      CHUNK,
      before,
    ]);
  }

  /** Fails what waited longer than its time to live. */
  expire(): Promise<MovedJob[]> {
    return this.database.query<MovedJob>(EXPIRE, [CHUNK]);
  }

  /** Marks what waited for its time and may now be claimed. @returns the queue of each */
  async stage(): Promise<string[]> {
    return (await this.database.query<{ queue: string }>(STAGE, [CHUNK])).map((row) => row.queue);
  }
}

function toSubmit(jobs: readonly NewJob[]): Prepared {
  return { name: 'submit', text: SUBMIT_LIGHTLY, values: submitted(jobs) };
}

function inOrderOf(jobs: readonly NewJob[], rows: readonly SubmittedRow[]): SubmittedRow[] {
  const byId = new Map(rows.map((row) => [row.id, row]));
  return jobs.map(({ id }) => byId.get(id)!);
}

function submitted(jobs: readonly NewJob[]): unknown[] {
  return [JSON.stringify(jobs.map(toRow))];
}

function toRow({ spec, ...job }: NewJob): Record<string, unknown> {
  const { tries, infrastructure } = spec.retry;
  return {
    ...job,
    spec,
    tries_left: tries - 1,
    losses_left: infrastructure.tries,
    requires: maskOf(requirementsOf(spec.limits, spec.isolation)),
  };
}

interface AnsweredRow extends ClaimedRow {
  /** The claim that it answers. */
  readonly claim_id: string;
}

function toClaim(claims: readonly Claim[], lease: number, heardWithin: number | null = null): Prepared {
  const asked = new Map<string, { queue: string; worker: string; claims: string[] }>();
  for (const { queue, claimId, workerId } of claims) {
    const key = JSON.stringify([queue, workerId]);
    const together = asked.get(key) ?? { queue, worker: workerId, claims: [] };
    if (!together.claims.includes(claimId)) together.claims.push(claimId);
    asked.set(key, together);
  }
  return { name: 'claim', text: CLAIM, values: [JSON.stringify([...asked.values()]), lease, heardWithin] };
}

function inOrder(claims: readonly Claim[], rows: readonly AnsweredRow[]): (ClaimedRow | undefined)[] {
  const taken = new Map(rows.map(({ claim_id, ...row }) => [claim_id, row]));
  return claims.map(({ claimId }) => taken.get(claimId));
}

function toFinish(reports: readonly Finished[], awaited: readonly string[]): Prepared {
  const rows = reports.map(({ jobId, attempt, outcome }) => ({
    job_id: jobId,
    attempt,
    state: outcome.state,
    reason: outcome.reason,
    limit_hit: outcome.limit,
    infrastructure: outcome.infrastructure ?? false,
    message: outcome.message && storable(outcome.message),
    exit_code: outcome.exitCode,
    signal: outcome.signal,
    started_at: outcome.startedAt,
    finished_at: outcome.finishedAt,
    usage: outcome.usage,
    stdout: outcome.stdout,
    stderr: outcome.stderr,
    outputs: outcome.outputs,
  }));
  return { name: 'finish', text: FINISH, values: [JSON.stringify(rows), awaited] };
}
