import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigurationError } from '#shared/config/environment.js';
import { createLogger, type LogLevel } from '#shared/logging/logger.js';
import { EmbeddedPostgresError } from './embedded-postgres.js';
import { FolderLockedError } from './folder-lock.js';
import { greeting } from './greeting.js';
import { readStandaloneConfig, type StandaloneConfig } from './standalone.config.js';
import { PortTakenError, startStandalone, type Standalone } from './standalone.js';

const dist = fileURLToPath(new URL('../../..', import.meta.url));
const installation = {
  modules: path.join(dist, '../node_modules'),
  workerProgram: path.join(dist, 'apps/worker/src'),
};

const MAX_LOG_BYTES = 20 * 2 ** 20;
const SAME_WISH_MS = 1000;

async function main(): Promise<void> {
  const config = readStandaloneConfig(process.env);
  const logger = openLog(config);
  for (const warning of config.warnings) say(`${warning}.`);
  const starting = startStandalone(config, installation, logger);
  const stop = stopper(starting, config);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  const { url } = await starting;
  say(greeting(url, config));
}

/** The terminal is for people; what programs log goes to a file. */
function openLog({ logFile, gateway }: StandaloneConfig) {
  if ((statSync(logFile, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES) {
    renameSync(logFile, `${logFile}.old`);
  }
  const level = gateway.logLevel as LogLevel;
  const logger = createLogger({ name: 'standalone', level, destination: logFile });
  Logger.overrideLogger(logger);
  return logger;
}

/**
 * The first signal drains, the second ends what still runs, the third leaves at once. What comes within a second of
 * one is the same wish: of one Ctrl-C the terminal tells this process, and npm, which passes it on, as well.
 */
function stopper(starting: Promise<Standalone>, { worker }: StandaloneConfig): () => void {
  let signals = 0;
  let last = -Infinity;
  return () => {
    if (performance.now() - last < SAME_WISH_MS) return;
    last = performance.now();
    signals++;
    if (signals === 1) {
      say(`\nStopping. Jobs that run get ${worker.drainTimeout} s to end; Ctrl-C again ends them now.`);
      starting
        .then((standalone) => standalone.stop())
        .then(() => say('Stopped.'))
        .then(() => process.exit(0), fail);
    } else if (signals === 2) {
      say('Ending the jobs that run; they are run again at the next start.');
      starting.then((standalone) => standalone.hurry()).catch(fail);
    } else {
      process.exit(130);
    }
  };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function fail(error: NodeJS.ErrnoException): never {
  if (error.code === 'EACCES') {
    process.stderr.write(
      `${error.message}. If the data folder was made by another user, such as root, start as that user, or ` +
        'choose another folder with LABHAND_DATA.\n',
    );
    process.exit(1);
  }
  const forPeople = [ConfigurationError, EmbeddedPostgresError, FolderLockedError, PortTakenError];
  const expected = forPeople.some((kind) => error instanceof kind);
  process.stderr.write(`${expected ? error.message : (error.stack ?? error.message)}\n`);
  process.exit(1);
}

main().catch(fail);
