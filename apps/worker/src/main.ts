import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import { ConfigurationError } from '#shared/config/environment.js';
import { createLogger } from '#shared/logging/logger.js';
import { isWorkerReady } from './health.js';
import { startLauncher } from './launcher-client.js';
import { launcherPaths } from './launcher-paths.js';
import { readWorkerConfig, type WorkerConfig } from './worker.config.js';
import { createWorker } from './worker.js';

const HERE = dirname(fileURLToPath(import.meta.url));

/** `main.js` runs a worker, `main.js health` tells by its exit code whether the one of this environment is ready. */
async function main(command?: string): Promise<void> {
  const config = readWorkerConfig();
  if (command === 'health') {
    process.exitCode = isWorkerReady(config.stateDir) ? 0 : 1;
    return;
  }
  const logger = createLogger({ name: 'worker', level: config.logLevel });
  Logger.overrideLogger(logger);
  for (const warning of config.warnings) logger.warn(warning, 'main');
  await run(config);
}

async function run(config: WorkerConfig): Promise<void> {
  const broker = new AmqpBroker({ url: config.amqpUrl, name: 'worker' });
  const launcher = await startLauncher({ ...launcherPaths(HERE), logger: new Logger('launcher') });
  const worker = await createWorker(config, broker, { launcher });
  const stop = stopOnce(async () => {
    await worker.close();
    await broker.close();
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => stop(() => worker.hurry()));
  }
  await worker.start();
}

/** The first call stops, each further one is for `again`. */
function stopOnce(stop: () => Promise<void>): (again: () => void) => void {
  let stopping = false;
  return (again) => {
    if (stopping) return again();
    stopping = true;
    // What still has a timer or a socket open has nothing left to do: it must not keep the container waiting.
    stop().then(() => process.exit(0), fail);
  };
}

function fail(error: Error): never {
  process.stderr.write(`${error instanceof ConfigurationError ? error.message : error.stack}\n`);
  process.exit(1);
}

main(process.argv[2]).catch(fail);
