import { z } from 'zod';
import { FAIL_REASONS } from './job-state.js';
import { parseBytes, parseDuration } from './units.js';
import { pathClash, relativePathFault } from './relative-path.js';

/**
 * What a client asks for. This schema is the validation, the OpenAPI document and the type: the row and the
 * messages derive from it.
 */

/** Bytes; input accepts `4Gi`. */
export const bytes = z
  .union([z.number(), z.string()])
  .transform((value, context) => {
    const size = typeof value === 'number' ? value : parseBytes(value);
    if (size !== undefined && Number.isSafeInteger(size) && size >= 0) return size;
    context.addIssue({ code: 'custom', message: 'expected a size in bytes such as 1048576 or "4Gi"' });
    return z.NEVER;
  })
  .meta({ description: 'Bytes; text such as "4Gi" or "500M" is accepted', example: '4Gi' });

/** Seconds; input accepts `2h`. */
export const seconds = z
  .union([z.number(), z.string()])
  .transform((value, context) => {
    const duration = typeof value === 'number' ? value : parseDuration(value);
    if (duration !== undefined && Number.isFinite(duration) && duration >= 0) return duration;
    context.addIssue({ code: 'custom', message: 'expected a duration in seconds such as 90 or "2h"' });
    return z.NEVER;
  })
  .meta({ description: 'Seconds; text such as "90s" or "2h" is accepted', example: '2h' });

export const queueName = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/,
    'expected 1 to 63 lower-case letters, digits, dots, dashes or underscores',
  );

export const relativePath = z.string().superRefine((path, context) => {
  const fault = relativePathFault(path);
  if (fault) {
    context.addIssue({
      code: 'custom',
      message: `the path ${JSON.stringify(path)} ${fault}; expected a relative path such as data/protein.pdb`,
    });
  }
});

const noNul = (what: string) =>
  z.string().refine((text) => !text.includes('\0'), `${what} cannot hold a NUL character`);

const argument = noNul('an argument').max(131_072);

const environment = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected a name of letters, digits and underscores')
      .refine((name) => !name.startsWith('LABHAND_'), 'names that start with LABHAND_ are set by the worker'),
    noNul('a value').max(131_072),
  )
  .refine((env) => Object.keys(env).length <= 200, 'expected at most 200 variables');

/** A limit of nothing would end every job, and 0 means "never" further down: limits are more than 0. */
const more = (what: string) => [(value: number) => value > 0, `expected ${what} of more than 0`] as const;
const someSeconds = seconds.refine(...more('a duration'));
const someBytes = bytes.refine(...more('a size'));
const some = z.int().min(1);

/** Limits of one attempt. What is not named is limited by the queue's default, or not at all. */
export const limits = z.strictObject({
  wallTime: someSeconds
    .optional()
    .describe('Seconds an attempt may take, pauses not counted; then TERM, the grace time, KILL'),
  idleTime: someSeconds.optional().describe('Seconds without any output after which an attempt is ended'),
  killGrace: seconds.optional().describe('Seconds between TERM and KILL'),
  output: bytes.optional().describe('Bytes of stdout and of stderr that are kept, each'),
  cpu: z.number().positive().max(100_000).optional().describe('Cores, such as 2 or 0.5'),
  memory: someBytes.optional().describe('Bytes of memory'),
  processes: some.optional().describe('Processes and threads at once'),
  openFiles: some.optional().describe('Open files of each process'),
  fileSize: someBytes.optional().describe('Bytes of the largest file that it may write'),
  disk: someBytes.optional().describe('Bytes in its workspace'),
  ioRead: someBytes.optional().describe('Bytes a second read from disks'),
  ioWrite: someBytes.optional().describe('Bytes a second written to disks'),
  network: z.boolean().optional().describe('false: no network'),
});
export type Limits = z.infer<typeof limits>;
export type LimitName = keyof Limits;
export const LIMIT_NAMES = Object.keys(limits.shape) as [LimitName, ...LimitName[]];

/** How far a job is kept from others, each level adding to the one before it. */
export const ISOLATION_LEVELS = ['process', 'namespaces', 'cgroup'] as const;
export type Isolation = (typeof ISOLATION_LEVELS)[number];

const isolation = z.enum(ISOLATION_LEVELS);

/** An input given inside the JSON; larger ones are file parts or archives of a multipart submission. */
const inlineInput = z.strictObject({
  path: relativePath,
  content: z.string().max(1_048_576).describe('The whole file as text, up to 1 MiB'),
  executable: z.boolean().optional(),
});

const CALLBACK_STATES = ['queued', 'running', 'succeeded', 'failed', 'canceled'] as const;

/** Exactly as an encoder writes it: receivers decode it with less patience than Node. */
function isSigningSecret(text: string): boolean {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  if (encoded === undefined || encoded.length > 88) return false;
  const key = Buffer.from(encoded, 'base64');
  return key.length >= 24 && key.length <= 64 && key.toString('base64') === encoded;
}

const callback = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: 'expected an http or https address' }).max(2048),
  events: z
    .array(z.enum(CALLBACK_STATES))
    .min(1)
    .optional()
    .describe('States to be told of; by default the final ones'),
  secret: z
    .string()
    .refine(isSigningSecret, 'expected whsec_ and 24 to 64 random bytes in base64')
    .optional()
    .describe("Signs this job's callbacks instead of the server's own secret; never shown again"),
});

/** What can be tried again by the command's own tries: all that has a worker's verdict. */
export const RETRY_REASONS = FAIL_REASONS.filter((it) => it !== 'worker_lost' && it !== 'expired');

const tries = z.int().min(1).max(100);

const retry = z.strictObject({
  tries: tries.optional().describe('How often the command may run at most'),
  on: z
    .array(z.union([z.enum(RETRY_REASONS), z.int().min(1).max(255)]))
    .min(1)
    .max(100)
    .optional()
    .describe('Reasons and exit codes that are worth another try; by default every failure of the command'),
  backoff: seconds.optional().describe('Seconds before the second try; doubles with each further one'),
  backoffMax: seconds.optional().describe('Seconds between two tries at most'),
  jitter: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('By which part at most a pause is shortened at random, lest many come back together'),
  infrastructure: z
    .strictObject({
      tries: z.int().min(0).max(1000).optional().describe('How many such failures are forgiven'),
      backoff: seconds
        .optional()
        .describe('Seconds before the run after the second one; the first is made good at once'),
      backoffMax: seconds.optional(),
    })
    .optional()
    .describe("Lost workers and failed transfers of files: not the command's fault, and none of its tries"),
});

export const jobSpec = z
  .strictObject({
    queue: queueName.default('default'),
    name: z.string().max(200).optional().describe('A title for people'),
    command: z
      .array(argument)
      .min(1)
      .max(10_000)
      .refine((command) => command[0] !== '', 'the program name is empty')
      .optional()
      .describe("Program and arguments; no shell is involved. By default the queue's command"),
    args: z.array(argument).max(10_000).optional().describe("Arguments appended to the queue's command"),
    env: environment.optional(),
    inputs: z.array(inlineInput).max(1000).optional(),
    outputs: z
      .array(z.string().min(1).max(1024))
      .max(100)
      .optional()
      .describe('Globs of the new or changed files to keep; by default all'),
    limits: limits.optional(),
    isolation: isolation.optional().describe("At least this level; never less than the queue's"),
    priority: z
      .int()
      .min(-100)
      .max(100)
      .default(0)
      .describe('Higher goes first, within what the queue allows'),
    delay: seconds.optional().describe('Seconds from now before it may run'),
    ttl: seconds.optional().describe('Seconds it may wait before it fails as expired'),
    hold: z.boolean().optional().describe('Wait until released'),
    retry: retry.optional(),
    labels: z
      .record(
        z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, 'expected up to 63 letters, digits, . _ / -'),
        z.string().max(255),
      )
      .refine((labels) => Object.keys(labels).length <= 64, 'expected at most 64 labels')
      .optional(),
    callback: callback.optional(),
  })
  .superRefine((spec, context) => {
    const clash = pathClash((spec.inputs ?? []).map((input) => input.path));
    if (clash) {
      context.addIssue({ code: 'custom', path: ['inputs'], message: clashSentence(clash) });
    }
  });

/** A submission as checked, with defaults filled in. */
export type JobSpec = z.output<typeof jobSpec>;
/** A submission as a client writes it. */
export type JobSpecInput = z.input<typeof jobSpec>;

export function clashSentence([first, second]: [string, string]): string {
  return first === second
    ? `two input files have the path ${JSON.stringify(first)}; give each its own`
    : `${JSON.stringify(first)} is an input file and also a folder of ${JSON.stringify(second)}; rename one`;
}

/** What clients may choose in a queue: `fixed` only data and arguments, `script` a run.sh, `any` the command. */
export const QUEUE_POLICIES = ['fixed', 'script', 'any'] as const;

/** Defaults and limits of a queue, from the gateway's configuration or a worker's registration. */
export const queueSettings = z.strictObject({
  policy: z.enum(QUEUE_POLICIES).default('any'),
  command: z.array(argument).min(1).optional().describe('What runs when a job brings no command of its own'),
  env: environment.optional(),
  outputs: z.array(z.string().min(1)).optional(),
  limits: limits.optional().describe('Defaults of jobs that name none'),
  maxLimits: limits
    .optional()
    .describe('What a job may ask for at most, and gets where nothing else is said'),
  isolation: isolation.optional().describe('The level of every job; a job may ask for more'),
  onOutputLimit: z.enum(['cut', 'fail']).default('cut'),
  keepFullOutput: z
    .boolean()
    .optional()
    .describe('stdout and stderr beyond limits.output go whole into the archive of the outputs'),
  retry: retry.optional(),
  ttl: seconds.optional(),
  maxQueued: z.int().min(1).optional().describe('Jobs that may wait; further ones get 503'),
  maxRunningPerOwner: z.int().min(1).optional().describe("The cap of each owner's lane"),
  maxUpload: bytes.optional().describe('Bytes of one file part'),
});
export type QueueSettings = z.output<typeof queueSettings>;
