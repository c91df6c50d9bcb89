import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigurationError, readEnvironment, type Environment } from '#shared/config/environment.js';
import { check } from '#shared/config/schema-faults.js';
import { bytes, queueName, queueSettings, seconds, type QueueSettings } from '#shared/job/job-spec.js';
import type { BlobStoreConfig } from './files/create-blob-store.js';

/** Injection token of the gateway's settings. */
export const GATEWAY_CONFIG = Symbol('GatewayConfig');

export interface GatewayConfig {
  readonly databaseUrl: string;
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly blobs: BlobStoreConfig;
  /** Queues that the configuration describes. */
  readonly queues: Readonly<Record<string, QueueSettings>>;
  /** Seconds that an attempt stays its worker's without a heartbeat. */
  readonly lease: number;
  /** Seconds between the heartbeats that workers are asked for. */
  readonly heartbeat: number;
  /** Seconds between the rounds that compare tickets with jobs. */
  readonly reconcile: number;
  /** How many lost workers and failed transfers a job is forgiven, where neither it nor its queue says. */
  readonly losses: number;
  /** Seconds before the run after the second such failure, doubling up to the longest. */
  readonly lossBackoff: number;
  readonly lossBackoffMax: number;
  /** Seconds that a client may ask to be kept waiting at most. */
  readonly maxWait: number;
  /** Bytes of one file part, where the queue does not say. */
  readonly maxUpload: number;
  /** Where the admin key is kept that the first start makes. */
  readonly adminKeyFile: string | undefined;
  /** The admin key itself, given instead of made. */
  readonly adminKey: string | undefined;
  readonly callbacks: {
    /** Address ranges that callbacks may reach although they are not public. */
    readonly allow: readonly string[];
    /** Whether plain http is refused. */
    readonly httpsOnly?: boolean;
    /** Seconds before the 2nd, 3rd … try; undefined for the schedule of Standard Webhooks. */
    readonly schedule?: readonly number[];
  };
  readonly logLevel: string;
}

/** What both the environment and a program that composes a gateway may leave out. */
export const GATEWAY_DEFAULTS = {
  host: '127.0.0.1',
  port: 8080,
  queues: {},
  lease: 60,
  heartbeat: 5,
  reconcile: 2,
  losses: 5,
  lossBackoff: 10,
  lossBackoffMax: 300,
  maxWait: 300,
  maxUpload: 64 * 2 ** 30,
  adminKeyFile: undefined,
  adminKey: undefined,
  callbacks: { allow: [] },
  logLevel: 'info',
} as const satisfies Partial<GatewayConfig>;

const wholeNumber = (least: number, most: number) => z.coerce.number().int().min(least).max(most);

const variables = z.object({
  LABHAND_DATABASE_URL: z.url({
    protocol: /^postgres(ql)?$/,
    error: 'expected postgres://user:password@host:5432/database',
  }),
  LABHAND_AMQP_URL: z.url({ protocol: /^amqps?$/, error: 'expected amqp://user:password@host:5672' }),
  LABHAND_HOST: z.string().default('0.0.0.0'),
  LABHAND_PORT: wholeNumber(0, 65_535).default(GATEWAY_DEFAULTS.port),
  LABHAND_BLOBS: z
    .string()
    .default('file:/var/lib/labhand/blobs')
    .describe('file:/a/folder or s3://bucket/prefix'),
  LABHAND_S3_ENDPOINT: z.url().optional(),
  LABHAND_S3_REGION: z.string().default('us-east-1'),
  LABHAND_S3_ACCESS_KEY_ID: z.string().optional(),
  LABHAND_S3_SECRET_ACCESS_KEY: z.string().optional(),
  LABHAND_S3_PATH_STYLE: z.enum(['true', 'false']).default('true'),
  LABHAND_QUEUES_FILE: z.string().optional(),
  LABHAND_LEASE: seconds.default(GATEWAY_DEFAULTS.lease),
  LABHAND_HEARTBEAT: seconds.default(GATEWAY_DEFAULTS.heartbeat),
  LABHAND_RECONCILE: seconds.default(GATEWAY_DEFAULTS.reconcile),
  LABHAND_LOSSES: wholeNumber(0, 1000).default(GATEWAY_DEFAULTS.losses),
  LABHAND_LOSS_BACKOFF: seconds.default(GATEWAY_DEFAULTS.lossBackoff),
  LABHAND_LOSS_BACKOFF_MAX: seconds.default(GATEWAY_DEFAULTS.lossBackoffMax),
  LABHAND_MAX_WAIT: seconds.default(GATEWAY_DEFAULTS.maxWait),
  LABHAND_MAX_UPLOAD: bytes.default(GATEWAY_DEFAULTS.maxUpload),
  LABHAND_ADMIN_KEY: z.string().optional(),
  LABHAND_ADMIN_KEY_FILE: z.string().optional(),
  LABHAND_CALLBACKS_ALLOW: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((range) => range.trim())
        .filter((range) => range !== ''),
    ),
  LABHAND_CALLBACKS_HTTPS_ONLY: z
    .enum(['true', 'false'], 'expected true or false')
    .default('false')
    .transform((text) => text === 'true'),
  LABHAND_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

export interface GatewayEnvironment {
  readonly config: GatewayConfig;
  readonly amqpUrl: string;
  readonly warnings: readonly string[];
}

/** @throws {ConfigurationError} with all that is wrong, together */
export function readGatewayConfig(environment: Environment): GatewayEnvironment {
  const { settings, warnings } = readEnvironment(variables, environment);
  return {
    amqpUrl: settings.LABHAND_AMQP_URL,
    warnings,
    config: {
      databaseUrl: settings.LABHAND_DATABASE_URL,
      host: settings.LABHAND_HOST,
      port: settings.LABHAND_PORT,
      blobs: blobStore(settings),
      queues: settings.LABHAND_QUEUES_FILE ? readQueuesFile(settings.LABHAND_QUEUES_FILE) : {},
      lease: settings.LABHAND_LEASE,
      heartbeat: settings.LABHAND_HEARTBEAT,
      reconcile: settings.LABHAND_RECONCILE,
      losses: settings.LABHAND_LOSSES,
      lossBackoff: settings.LABHAND_LOSS_BACKOFF,
      lossBackoffMax: settings.LABHAND_LOSS_BACKOFF_MAX,
      maxWait: settings.LABHAND_MAX_WAIT,
      maxUpload: settings.LABHAND_MAX_UPLOAD,
      adminKey: settings.LABHAND_ADMIN_KEY,
      adminKeyFile: settings.LABHAND_ADMIN_KEY_FILE,
      callbacks: {
        allow: settings.LABHAND_CALLBACKS_ALLOW,
        httpsOnly: settings.LABHAND_CALLBACKS_HTTPS_ONLY,
      },
      logLevel: settings.LABHAND_LOG_LEVEL,
    },
  };
}

function blobStore(settings: z.output<typeof variables>): BlobStoreConfig {
  const where = settings.LABHAND_BLOBS;
  if (where.startsWith('s3://')) {
    const { hostname, pathname } = new URL(where);
    return {
      kind: 's3',
      bucket: hostname,
      prefix: pathname.replace(/^\/+/, ''),
      endpoint: settings.LABHAND_S3_ENDPOINT,
      region: settings.LABHAND_S3_REGION,
      accessKeyId: settings.LABHAND_S3_ACCESS_KEY_ID,
      secretAccessKey: settings.LABHAND_S3_SECRET_ACCESS_KEY,
      forcePathStyle: settings.LABHAND_S3_PATH_STYLE === 'true',
    };
  }
  const directory = where.replace(/^file:(\/\/)?/, '');
  if (directory.startsWith('/')) return { kind: 'directory', directory };
  throw new ConfigurationError([
    `LABHAND_BLOBS: expected file:/an/absolute/folder or s3://bucket/prefix, got ${JSON.stringify(where)}`,
  ]);
}

/** `{"<queue>": {settings}}`. @throws {ConfigurationError} */
function readQueuesFile(file: string): Record<string, QueueSettings> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new ConfigurationError([
      `LABHAND_QUEUES_FILE: ${file} cannot be read as JSON: ${(error as Error).message}`,
    ]);
  }
  const { value, faults } = check(z.record(queueName, queueSettings), content);
  if (faults.length === 0) return value as Record<string, QueueSettings>;
  throw new ConfigurationError(faults.map(({ path, message }) => `LABHAND_QUEUES_FILE: ${path}: ${message}`));
}
