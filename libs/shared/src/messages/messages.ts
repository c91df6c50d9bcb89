import { z } from 'zod';
import { FAIL_REASONS, FINAL_STATES, JOB_STATES } from '../job/job-state.js';
import { SENDABLE_SIGNALS, SIGNAL_TARGETS } from '../job/signals.js';
import { ISOLATION_LEVELS, LIMIT_NAMES, queueName, queueSettings } from '../job/job-spec.js';

/**
 * Every message between gateway and worker: its name (the AMQP `type` property and the Nest pattern) and its
 * shape. A receiver checks the shape before any handler sees it.
 */

/** Travels with each message; a receiver of another version dead-letters it. */
export const PROTOCOL_VERSION = 1;

const jobId = z.uuid();
const workerId = z.string().min(1).max(200);
/** One run of a job; (jobId, attempt) is the fence that every report carries. */
const attemptRef = { jobId, attempt: z.int().min(1) };

export const ticket = z.object({ queue: queueName });

export const claim = z.object({
  claimId: z.uuid().describe('Asked again with the same id, a claim gets the same answer'),
  workerId,
  queue: queueName,
});

/** Limits as the worker gets them: all decided, no defaults left; absent is not limited. Seconds and bytes. */
export const attemptLimits = z.object({
  wallTime: z.number(),
  killGrace: z.number(),
  output: z.number(),
  idleTime: z.number().optional(),
  cpu: z.number().optional().describe('Cores'),
  memory: z.number().optional(),
  processes: z.number().optional(),
  openFiles: z.number().optional(),
  fileSize: z.number().optional(),
  disk: z.number().optional(),
  ioRead: z.number().optional(),
  ioWrite: z.number().optional(),
  network: z.literal(false).optional(),
});
export type AttemptLimits = z.infer<typeof attemptLimits>;

export const inputFile = z.object({
  path: z.string().describe('Where it lands in the workspace; of an archive only its name'),
  size: z.number(),
  content: z.string().optional().describe('The file itself, when it came inside the submission'),
  executable: z.boolean().optional(),
  href: z.string().optional().describe('Where to fetch it, below the address of the gateway'),
  sha256: z.string().optional(),
  archive: z.enum(['zip', 'tar', 'tar.gz', 'tar.zst']).optional().describe('To be unpacked in the workspace'),
});
export type InputFile = z.infer<typeof inputFile>;

export const claimedJob = z.object({
  ...attemptRef,
  queue: queueName,
  command: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()),
  inputs: z.array(inputFile),
  outputs: z.array(z.string()),
  limits: attemptLimits,
  isolation: z
    .enum(ISOLATION_LEVELS)
    .optional()
    .describe('Absent where nobody asked: `process`, as far as the host gives it'),
  onOutputLimit: z.enum(['cut', 'fail']),
  keepFullOutput: z.boolean().optional().describe('What is beyond limits.output goes into the archive'),
  filesToken: z.string().describe("Opens this attempt's files at the gateway, and no others"),
  traceparent: z.string().optional(),
});
export type ClaimedJob = z.infer<typeof claimedJob>;

export const claimReply = z.object({ job: claimedJob.nullable() });

export const usage = z.object({
  wallSeconds: z.number(),
  cpuSeconds: z.number().optional(),
  maxMemoryBytes: z.number().optional(),
  inputBytes: z.number().optional(),
  outputBytes: z.number().optional(),
  readBytes: z.number().optional().describe('Read from disks'),
  writtenBytes: z.number().optional().describe('Written to disks'),
  maxProcesses: z.number().optional().describe('Processes at once'),
  pausedSeconds: z.number().optional(),
});
export type Usage = z.infer<typeof usage>;

/** What is left of one output stream when the attempt is over. */
export const streamSummary = z.object({
  bytes: z.number().describe('Bytes that were kept'),
  cut: z.boolean().describe('The command wrote more than the limit'),
  /** Base64. The whole stream when `whole`, else its last bytes; the rest stands in the blob store. */
  tail: z.string(),
  whole: z.boolean(),
});
export type StreamSummary = z.infer<typeof streamSummary>;

/** How an attempt ended. */
export const outcome = z
  .object({
    state: z.enum(FINAL_STATES),
    reason: z.enum(FAIL_REASONS).optional(),
    limit: z.enum(LIMIT_NAMES).optional().describe('Which limit ended it'),
    infrastructure: z
      .boolean()
      .optional()
      .describe('The failure lies around the command and uses up none of its tries'),
    message: z.string().max(4000).optional().describe('A sentence for people'),
    exitCode: z.int().optional(),
    signal: z.string().optional(),
    startedAt: z.iso.datetime(),
    finishedAt: z.iso.datetime(),
    usage,
    stdout: streamSummary,
    stderr: streamSummary,
    outputs: z
      .object({ files: z.int(), bytes: z.number(), archiveBytes: z.number() })
      .nullable()
      .describe('What was uploaded as archive and listing; null when there were no output files'),
  })
  .refine(
    (it) => (it.state === 'failed') === (it.reason !== undefined),
    'a reason belongs to failed, and only to it',
  );
export type Outcome = z.infer<typeof outcome>;

export const finished = z.object({
  ...attemptRef,
  workerId,
  outcome,
  next: z
    .object({
      claimId: z.uuid(),
      queue: queueName,
      mayWait: z.boolean().optional().describe('The slot waits a little while there is no job'),
    })
    .optional()
    .describe(
      'What the slot that is free now would claim next; it has to be asked for as long as that is unanswered',
    ),
});
/** `refused`: this attempt is not (or no longer) the job's; drop what is kept of it. */
export const recordedReply = z.object({ status: z.enum(['recorded', 'refused']) });
export const finishedReply = recordedReply.extend({
  job: claimedJob.nullable().optional().describe('What `next` is given; absent where it was not answered'),
  draw: z.boolean().optional().describe('A ticket lies for that job, which the slot is to take out'),
  waits: z
    .number()
    .optional()
    .describe('Milliseconds in which a job may still come as `given`; after that it has to be asked for'),
});

/** To one worker: a job for a claim of its that waited. */
export const given = z.object({ claimId: z.uuid(), job: claimedJob });

/** An attempt that ended without an outcome: handed back before it began or by a drain, or found dead after a crash. */
export const lost = z.object({
  ...attemptRef,
  workerId,
  cause: z.enum(['drain', 'no_turn', 'worker_died']),
});

export const register = z.object({
  workerId,
  host: z.string(),
  version: z.string(),
  image: z.string().max(500).optional().describe('What it runs in, kept with each of its attempts'),
  startedAt: z.iso.datetime(),
  attempts: z
    .array(z.object(attemptRef))
    .optional()
    .describe('What it has still to report; all else that it had died with its last run'),
  queues: z
    .record(queueName, z.object({ slots: z.int().min(1), settings: queueSettings.optional() }))
    .describe('What it serves; a queue that does not exist yet is made'),
  capabilities: z
    .record(z.string(), z.union([z.boolean(), z.string()]))
    .describe(
      '`enforces`: words of libs/shared/src/job/requirements.ts with spaces between them; the rest is for people',
    ),
});
export const registerReply = z.object({ heartbeatSeconds: z.number(), leaseSeconds: z.number() });

export const heartbeat = z.object({
  workerId,
  draining: z.boolean(),
  attempts: z
    .array(z.object({ ...attemptRef, paused: z.boolean().optional() }))
    .describe('All that it holds; renews their leases'),
});

/** Bytes of a log chunk at most. */
export const CHUNK_BYTES = 64 * 1024;

export const logs = z.object({
  ...attemptRef,
  stream: z.enum(['stdout', 'stderr']),
  offset: z.number().describe('Bytes of this stream before this chunk'),
  skipped: z.number().optional().describe('How many of them, right before it, were left out while it runs'),
  data: z
    .string()
    .max(Math.ceil(CHUNK_BYTES / 3) * 4)
    .describe('Base64'),
});

export const progress = z.object({
  ...attemptRef,
  percent: z.number().min(0).max(100),
  message: z.string().max(500).optional(),
});

/** To one worker: end this attempt's tree and report it `canceled`. */
export const cancel = z.object({ ...attemptRef });
/** To one worker: this attempt is no longer yours; end its tree and report nothing. */
export const abandon = z.object({ ...attemptRef });
/** To one worker: stop the attempt's tree, or let it go on. Said again until heartbeats show that it was heard. */
export const pause = z.object({ ...attemptRef });
export const resume = z.object({ ...attemptRef });
/** From the worker: every process of the tree is stopped, or goes on. The heartbeat says it too. */
export const paused = z.object({ ...attemptRef, workerId });
export const resumed = z.object({ ...attemptRef, workerId });

/** To one worker, once, because a signal that comes twice is two signals. */
export const signal = z.object({
  ...attemptRef,
  signal: z.enum(SENDABLE_SIGNALS),
  target: z.enum(SIGNAL_TARGETS),
});
export const signalReply = z.object({
  sent: z.boolean().describe('false: no command of this attempt runs there'),
});

/** To one worker: take no more jobs, let those that run end, and stop. */
export const drain = z.object({
  timeout: z
    .number()
    .min(0)
    .optional()
    .describe("Seconds until what runs is handed back; else the worker's own"),
});

/** To one worker: which output files a running attempt would have if it ended now. */
export const list = z.object({ ...attemptRef, path: z.string().optional().describe('Only this one') });
export const listReply = z.object({
  files: z
    .array(z.object({ path: z.string(), size: z.number(), modifiedAt: z.iso.datetime() }))
    .nullable()
    .describe('null: the worker does not run this attempt, or its command has not begun'),
  more: z.boolean().describe('There are more than are listed'),
});
export type ListReply = z.infer<typeof listReply>;

/** To one worker: upload bytes `start` to `end` (included) of such a file under the name of this transfer. */
export const fetch = z.object({
  ...attemptRef,
  path: z.string(),
  start: z.number(),
  end: z.number(),
  transfer: z.uuid(),
});
/** `gone`: there is no such file any more, or it has become shorter. */
export const fetchReply = z.object({ status: z.enum(['sent', 'gone']) });

/** From gateway to gateways: there is something new to read in the logs of these jobs. */
export const written = z.object({
  gateway: z.string().describe('Which one says it'),
  jobIds: z.array(jobId),
});

/** One recorded change of a job, as it goes to the events exchange. */
export const jobEvent = z.object({
  id: z.string(),
  jobId,
  queue: queueName,
  owner: z.string(),
  state: z.enum(JOB_STATES),
  attempt: z.int(),
  reason: z.string().optional(),
  at: z.iso.datetime(),
});
export type JobEvent = z.infer<typeof jobEvent>;

export const MESSAGES = {
  ticket,
  claim,
  finished,
  lost,
  register,
  heartbeat,
  logs,
  progress,
  given,
  cancel,
  abandon,
  pause,
  resume,
  paused,
  resumed,
  signal,
  drain,
  list,
  fetch,
  event: jobEvent,
  written,
} as const;

export type MessageType = keyof typeof MESSAGES;
export type MessageBody<T extends MessageType> = z.infer<(typeof MESSAGES)[T]>;

export type Claim = MessageBody<'claim'>;
export type Finished = MessageBody<'finished'>;
export type Lost = MessageBody<'lost'>;
export type Register = MessageBody<'register'>;
export type Heartbeat = MessageBody<'heartbeat'>;
export type LogChunk = MessageBody<'logs'>;
export type Progress = MessageBody<'progress'>;
export type ListOrder = MessageBody<'list'>;
export type FetchOrder = MessageBody<'fetch'>;
export type FetchReply = z.infer<typeof fetchReply>;
export type AttemptRef = MessageBody<'cancel'>;
export type Given = MessageBody<'given'>;
export type Paused = MessageBody<'paused'>;
export type SignalOrder = MessageBody<'signal'>;
export type SignalReply = z.infer<typeof signalReply>;
export type DrainOrder = MessageBody<'drain'>;
export type ClaimReply = z.infer<typeof claimReply>;
export type RecordedReply = z.infer<typeof recordedReply>;
export type FinishedReply = z.infer<typeof finishedReply>;
export type RegisterReply = z.infer<typeof registerReply>;

/** What answers each request. */
export const REPLIES = {
  claim: claimReply,
  finished: finishedReply,
  lost: recordedReply,
  register: registerReply,
  signal: signalReply,
  list: listReply,
  fetch: fetchReply,
} as const;

export type RequestType = keyof typeof REPLIES;
export type Reply<T extends RequestType> = z.infer<(typeof REPLIES)[T]>;
