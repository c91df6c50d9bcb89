import { accessSync, constants, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { readEnvironment } from '#shared/config/environment.js';
import { queueName, queueSettings, seconds, type QueueSettings } from '#shared/job/job-spec.js';
import { LOG_LEVELS, type LogLevel } from '#shared/logging/logger.js';

/** What every worker needs to know, wherever its broker is. */
export interface WorkerSettings {
  /** Base address for inputs and outputs, without a slash at its end. */
  readonly gatewayUrl: string;
  /** Slots per queue. */
  readonly queues: Readonly<Record<string, number>>;
  /** What the image says of its queues; the gateway takes it as their defaults. */
  readonly queueSettings: Readonly<Record<string, QueueSettings>>;
  /** By default made once and kept in the state directory. */
  readonly workerId?: string;
  /** What it runs in, told with each attempt. */
  readonly image?: string;
  /** Holds what a restarted worker must find again: its id, attempts under way, outcomes not yet recorded. */
  readonly stateDir: string;
  /** Holds the workspaces of running attempts. */
  readonly workDir: string;
  /** Folders beside these whose contents are no job's business. */
  readonly closedFolders?: readonly string[];
  /** Folder that was prepared for the control groups of jobs. */
  readonly cgroup?: string;
  /** Seconds that running attempts get to end by themselves when the worker is told to stop. */
  readonly drainTimeout: number;
  /** Jobs that it takes in its life; by default as many as come. */
  readonly maxJobs?: number;
  /** Seconds without anything to do after which it stops; by default it waits for ever. */
  readonly idleTimeout?: number;
  /** 0: no health endpoint. */
  readonly healthPort: number;
  /** What jobs get of the worker's own environment; nothing else of it reaches them. */
  readonly jobEnvironment: Readonly<Record<string, string>>;
}

/** A worker as a program of its own. */
export interface WorkerConfig extends WorkerSettings {
  readonly amqpUrl: string;
  readonly logLevel: LogLevel;
  /** Sentences for the log, on variables that nobody reads. */
  readonly warnings: readonly string[];
}

const SYSTEM_STATE_DIR = '/var/lib/labhand-worker';
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const environment = z.object({
  LABHAND_AMQP_URL: z
    .url({ protocol: /^amqps?$/, error: 'expected an address such as amqp://user:password@broker:5672' })
    .default('amqp://127.0.0.1:5672'),
  LABHAND_GATEWAY_URL: z
    .url({ protocol: /^https?$/, error: 'expected an address such as http://gateway:8080' })
    .transform((url) => url.replace(/\/+$/, '')),
  LABHAND_QUEUES: z
    .string('expected queues and their slots such as arctic3d:4,default:2')
    .transform((text, context) =>
      parseQueues(text, (message) => context.addIssue({ code: 'custom', message })),
    ),
  LABHAND_QUEUES_FILE: z
    .string()
    .optional()
    .transform((file, context) =>
      file === undefined
        ? {}
        : readQueuesFile(file, (message) => context.addIssue({ code: 'custom', message })),
    ),
  LABHAND_WORKER_ID: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/,
      'expected up to 200 letters, digits, dots, dashes or underscores',
    )
    .optional(),
  LABHAND_IMAGE: z.string().max(500, 'expected the name of an image, up to 500 characters').optional(),
  LABHAND_STATE_DIR: z.string().optional(),
  LABHAND_WORK_DIR: z.string().optional(),
  LABHAND_DRAIN_TIMEOUT: seconds.default(60),
  LABHAND_MAX_JOBS: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, 'expected a whole number of at least 1')
    .transform(Number)
    .optional(),
  LABHAND_IDLE_TIMEOUT: seconds.refine((it) => it > 0, 'expected a duration of more than 0').optional(),
  LABHAND_HEALTH_PORT: z
    .string()
    .regex(/^\d+$/, 'expected a port number, or 0 for none')
    .transform(Number)
    .refine((port) => port <= 65_535, 'expected a port number up to 65535')
    .default(0),
  LABHAND_CGROUP: z
    .string()
    .regex(/^\//, 'expected the absolute path of a folder in which control groups can be made')
    .optional(),
  LABHAND_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
});

/**
 * The worker's configuration from its environment.
 * @param options variables that go before it
 * @throws {ConfigurationError} with all faults together
 */
export function readWorkerConfig(
  env: NodeJS.ProcessEnv = process.env,
  options: Readonly<Record<string, string>> = {},
): WorkerConfig {
  const { settings: values, warnings } = readEnvironment(environment, { ...env, ...options });
  const stateDir = resolve(values.LABHAND_STATE_DIR ?? defaultStateDir());
  return {
    warnings,
    amqpUrl: values.LABHAND_AMQP_URL,
    cgroup: values.LABHAND_CGROUP,
    logLevel: values.LABHAND_LOG_LEVEL,
    gatewayUrl: values.LABHAND_GATEWAY_URL,
    queues: values.LABHAND_QUEUES,
    queueSettings: values.LABHAND_QUEUES_FILE,
    workerId: values.LABHAND_WORKER_ID,
    image: values.LABHAND_IMAGE || undefined,
    stateDir,
    workDir: values.LABHAND_WORK_DIR ? resolve(values.LABHAND_WORK_DIR) : defaultWorkDir(stateDir),
    drainTimeout: values.LABHAND_DRAIN_TIMEOUT,
    maxJobs: values.LABHAND_MAX_JOBS,
    idleTimeout: values.LABHAND_IDLE_TIMEOUT,
    healthPort: values.LABHAND_HEALTH_PORT,
    jobEnvironment: ownEnvironment(env),
  };
}

export function defaultWorkDir(stateDir: string): string {
  return `${stateDir}/work`;
}

/** Where programs are found, the language and the time zone: nothing that could be a secret. */
export function ownEnvironment(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  return {
    PATH: env.PATH || DEFAULT_PATH,
    LANG: env.LANG || 'C.UTF-8',
    ...(env.TZ ? { TZ: env.TZ } : {}),
  };
}

/** Images make the system's directory; elsewhere a worker keeps to the folder that it is started in. */
function defaultStateDir(): string {
  try {
    accessSync(SYSTEM_STATE_DIR, constants.W_OK);
    return SYSTEM_STATE_DIR;
  } catch {
    return '.labhand/worker';
  }
}

function parseQueues(text: string, complain: (message: string) => void): Record<string, number> {
  const queues: Record<string, number> = {};
  for (const part of text.split(',').map((piece) => piece.trim())) {
    const [name = '', slots = '1', ...rest] = part.split(':');
    if (!queueName.safeParse(name).success || !/^[1-9]\d{0,3}$/.test(slots) || rest.length > 0) {
      complain(`${JSON.stringify(part)} is no queue with its slots; expected a form such as arctic3d:4`);
    } else if (name in queues) {
      complain(`the queue ${name} is named twice; add its slots up`);
    } else {
      queues[name] = Number(slots);
    }
  }
  return queues;
}

function readQueuesFile(file: string, complain: (message: string) => void): Record<string, QueueSettings> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    complain(`${file} cannot be read as JSON (${(error as Error).message})`);
    return {};
  }
  const settings = z.record(queueName, queueSettings).safeParse(content);
  if (settings.success) return settings.data;
  for (const issue of settings.error.issues) complain(`${file}, ${issue.path.join('.')}: ${issue.message}`);
  return {};
}
