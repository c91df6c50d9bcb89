import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigurationError } from '#shared/config/environment.js';
import { isWorkerReady } from './health-note.js';
import { StateDirTakenError } from './state-lock.js';
import { readWorkerOptions, USAGE } from './worker-options.js';
import { readWorkerConfig } from './worker.config.js';

const HERE = dirname(fileURLToPath(import.meta.url));

/** See USAGE in worker-options.ts. */
async function main(args: readonly string[]): Promise<void> {
  const { command, variables } = readWorkerOptions(args);
  if (command === 'help') return void process.stdout.write(USAGE);
  const config = readWorkerConfig(undefined, variables);
  if (command === 'health') {
    process.exitCode = isWorkerReady(config.stateDir) ? 0 : 1;
    return;
  }
  // Only now: a health check every few seconds must not load all of the worker.
  const { runWorker } = await import('./run-worker.js');
  await runWorker(config, HERE);
}

main(process.argv.slice(2)).catch((error: Error) => {
  const forPeople = [ConfigurationError, StateDirTakenError].some((kind) => error instanceof kind);
  process.stderr.write(`${forPeople ? error.message : error.stack}\n`);
  process.exit(1);
});
