import { z } from 'zod';
import { isFinal, JOB_STATES } from '#shared/job/job-state.js';
import { ISOLATION_LEVELS, LIMIT_NAMES } from '#shared/job/job-spec.js';
import { wordsOf } from '#shared/job/requirements.js';
import { attemptLimits, usage, type StreamSummary } from '#shared/messages/messages.js';
import type { AttemptRow, WholeJob } from './job-row.js';
import { waitingFor, type WaitingFor } from './waiting-for.js';

/** A job as clients see it. The schema is the OpenAPI document and the type; the function below fills it. */

const time = z.iso.datetime();

const streamView = z.object({
  bytes: z.number().describe('Bytes that are kept'),
  cut: z.boolean().describe('The command wrote more than the limit'),
  tail: z.string().describe('The last 4 KiB as text'),
});

const ending = {
  limit: z.enum(LIMIT_NAMES).optional().describe('Which limit ended it'),
  exitCode: z.int().optional(),
  signal: z.string().optional(),
  usage: usage.optional(),
};

const attemptView = z.object({
  attempt: z.int(),
  worker: z.string(),
  host: z.string().optional(),
  image: z.string().optional().describe('What its worker says that it runs in'),
  startedAt: time,
  finishedAt: time.optional(),
  ending: z.enum(['succeeded', 'failed', 'canceled', 'lost', 'handed_back']).optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  infrastructure: z
    .literal(true)
    .optional()
    .describe('It ended by what is around the command, and used up none of its tries'),
  ...ending,
  links: z.object({ logs: z.string(), files: z.string().optional() }),
});

export const jobView = z.object({
  id: z.uuid(),
  queue: z.string(),
  name: z.string().optional(),
  owner: z.string(),
  state: z.enum(JOB_STATES),
  reason: z.string().optional().describe('Why it failed, as a stable word'),
  message: z.string().optional().describe('What happened, as a sentence'),
  priority: z.int(),
  labels: z.record(z.string(), z.string()),
  command: z.array(z.string()),
  limits: attemptLimits,
  isolation: z.enum(ISOLATION_LEVELS).optional(),
  requires: z.array(z.string()).optional().describe('What a worker has to enforce to get it'),
  waitingFor: waitingFor.optional().describe('Why it does not run yet, where one job was asked for'),
  attempt: z.int().describe('How often it has been given to a worker'),
  createdAt: time,
  availableAt: time.optional().describe('Not before this time'),
  expiresAt: time.optional(),
  startedAt: time.optional(),
  finishedAt: time.optional(),
  cancelRequestedAt: time.optional(),
  pauseRequested: z.literal(true).optional().describe('It is to be paused; it is when its state says so'),
  rerunOf: z.uuid().optional().describe('The job that it repeats'),
  worker: z.string().optional(),
  ...ending,
  progress: z.object({ percent: z.number(), message: z.string().optional() }).optional(),
  inputs: z.array(z.object({ path: z.string(), size: z.number(), sha256: z.string().optional() })),
  outputs: z.object({ files: z.int(), bytes: z.number() }).optional(),
  logs: z.object({ stdout: streamView, stderr: streamView }).optional(),
  attempts: z.array(attemptView).optional(),
  links: z.object({ self: z.string(), logs: z.string(), files: z.string(), archive: z.string().optional() }),
});
export type JobView = z.infer<typeof jobView>;

export const canceledView = jobView.extend({
  cancel: z
    .enum(['canceled', 'requested', 'already_canceled'])
    .describe(
      '`canceled`: it will not run; `requested`: its worker ends it, after which it is final; `already_canceled`: it was over',
    ),
});
export type CanceledView = z.infer<typeof canceledView>;

const TAIL_BYTES = 4096;

/** With all of its attempts where the reader asked for one job. */
export type JobWithAttempts = WholeJob & {
  attempts?: AttemptRow[];
  waitingFor?: WaitingFor;
};

export function toJobView(job: JobWithAttempts): JobView {
  const last = job.finished_at ? job.last : null;
  const self = `/v1/jobs/${job.id}`;
  return defined({
    id: job.id,
    queue: job.queue,
    name: job.name,
    owner: job.owner,
    state: job.state,
    reason: job.reason,
    message: job.message,
    priority: job.priority,
    labels: job.labels,
    command: [...job.spec.command],
    limits: job.spec.limits,
    isolation: job.spec.isolation,
    requires: job.requires ? wordsOf(job.requires) : null,
    waitingFor: job.waitingFor,
    attempt: job.attempt,
    createdAt: iso(job.created_at),
    availableAt: job.state === 'queued' && !job.ready ? iso(job.available_at) : null,
    expiresAt: iso(job.expires_at),
    startedAt: job.attempt > 0 ? iso(job.started_at) : null,
    finishedAt: iso(job.finished_at),
    cancelRequestedAt: iso(job.cancel_requested_at),
    pauseRequested: job.pause_attempt === job.attempt && !isFinal(job.state) ? true : null,
    rerunOf: job.rerun_of,
    worker: job.worker_id ?? last?.worker_id,
    limit: last?.limit_hit,
    exitCode: last?.exit_code,
    signal: last?.signal,
    usage: last?.usage,
    progress: job.progress,
    inputs: job.inputs.map(({ path, size, sha256 }) => defined({ path, size, sha256 })),
    outputs: last?.outputs ? { files: last.outputs.files, bytes: last.outputs.bytes } : null,
    logs:
      last?.stdout && last.stderr ? { stdout: streamOf(last.stdout), stderr: streamOf(last.stderr) } : null,
    attempts: job.attempts?.map(attemptOf),
    links: defined({
      self,
      logs: `${self}/logs`,
      files: `${self}/files`,
      archive: last?.outputs ? `${self}/archive.zip` : null,
    }),
  }) as JobView;
}

function attemptOf(row: AttemptRow): z.infer<typeof attemptView> {
  return defined({
    attempt: row.attempt,
    worker: row.worker_id,
    host: row.host,
    image: row.image,
    startedAt: iso(row.started_at),
    finishedAt: iso(row.finished_at),
    ending: row.ending,
    reason: row.reason,
    message: row.message,
    infrastructure: row.infrastructure || null,
    limit: row.limit_hit,
    exitCode: row.exit_code,
    signal: row.signal,
    usage: row.usage,
    links: defined({
      logs: `/v1/jobs/${row.job_id}/logs?attempt=${row.attempt}`,
      files: row.outputs ? `/v1/jobs/${row.job_id}/files?attempt=${row.attempt}` : null,
    }),
  }) as z.infer<typeof attemptView>;
}

function streamOf({ bytes, cut, tail }: StreamSummary): z.infer<typeof streamView> {
  return { bytes, cut, tail: Buffer.from(tail, 'base64').subarray(-TAIL_BYTES).toString('utf8') };
}

function iso(time: Date | string | null | undefined): string | null {
  return time ? new Date(time).toISOString() : null;
}

/** Without what there is not: an absent field, never null. */
function defined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as Partial<T>;
}
