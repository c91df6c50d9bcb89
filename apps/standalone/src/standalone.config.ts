import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { readGatewayConfig, type GatewayConfig } from '#gateway/gateway.config.js';
import { readEnvironment, type Environment } from '#shared/config/environment.js';
import { readWorkerConfig, type WorkerSettings } from '#worker/worker.config.js';

/**
 * The standalone's settings are those of its gateway and its worker, with defaults that need nothing around them:
 * every variable that is documented for the two counts here too, but for the address of a broker.
 */

export interface StandaloneConfig {
  /** Holds everything that is kept. */
  readonly folder: string;
  /** Of a Postgres that runs already; undefined for the embedded one. */
  readonly databaseUrl: string | undefined;
  /** All but the address of its database, where that is the embedded one. */
  readonly gateway: GatewayConfig;
  /** All but the gateway's address, which is known when it listens. */
  readonly worker: WorkerSettings;
  readonly logFile: string;
  readonly warnings: readonly string[];
}

const variables = z.object({ LABHAND_DATA: z.string().default('.labhand') });

const UNUSED_AMQP_URL = 'amqp://in-process';
const EMBEDDED_DATABASE_URL = 'postgres://embedded/postgres';
const LATER_GATEWAY_URL = 'http://gateway';

/** @throws {ConfigurationError} with all that is wrong in one part, together */
export function readStandaloneConfig(environment: Environment): StandaloneConfig {
  const own = readEnvironment(variables, environment);
  const folder = resolve(own.settings.LABHAND_DATA);
  const gateway = readGatewayConfig({
    LABHAND_HOST: '127.0.0.1',
    LABHAND_BLOBS: `file:${folder}/blobs`,
    LABHAND_ADMIN_KEY_FILE: `${folder}/admin-key`,
    // Whoever may submit jobs may reach this machine's own ports with them anyway.
    LABHAND_CALLBACKS_ALLOW: '127.0.0.0/8,::1/128',
    LABHAND_DATABASE_URL: EMBEDDED_DATABASE_URL,
    ...given(environment),
    LABHAND_AMQP_URL: UNUSED_AMQP_URL,
  });
  const worker = readWorkerConfig({
    LABHAND_QUEUES: `default:${availableParallelism()}`,
    LABHAND_STATE_DIR: `${folder}/worker`,
    ...given(environment),
    LABHAND_GATEWAY_URL: LATER_GATEWAY_URL,
    LABHAND_AMQP_URL: UNUSED_AMQP_URL,
  });
  return {
    folder,
    databaseUrl: environment.LABHAND_DATABASE_URL || undefined,
    gateway: gateway.config,
    worker,
    logFile: `${folder}/labhand.log`,
    warnings: inAll([own.warnings, gateway.warnings, worker.warnings]),
  };
}

/** Empty counts as unset, so that it does not stand in the way of a default. */
function given(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => Boolean(entry[1])),
  );
}

/** A variable is unknown when no part knows it. */
function inAll([first = [], ...others]: (readonly string[])[]): string[] {
  const variable = (warning: string) => /\bLABHAND_\w+/.exec(warning)?.[0];
  return first.filter((warning) =>
    others.every((warnings) => warnings.some((other) => variable(other) === variable(warning))),
  );
}
