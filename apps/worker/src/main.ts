import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigurationError } from '#shared/config/environment.js';
import { isWorkerReady } from './health-note.js';
import { readWorkerConfig } from './worker.config.js';

const HERE = dirname(fileURLToPath(import.meta.url));

/** `main.js` runs a worker; `main.js health` tells by its exit code whether the one of this environment is ready. */
async function main(command?: string): Promise<void> {
  const config = readWorkerConfig();
  if (command === 'health') {
    process.exitCode = isWorkerReady(config.stateDir) ? 0 : 1;
    return;
  }
  // Only now: a health check every few seconds must not load all of the worker.
  const { runWorker } = await import('./run-worker.js');
  await runWorker(config, HERE);
}

main(process.argv[2]).catch((error: Error) => {
  process.stderr.write(`${error instanceof ConfigurationError ? error.message : error.stack}\n`);
  process.exit(1);
});
