import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import { createLogger } from '#shared/logging/logger.js';
import { startLauncher } from './launcher-client.js';
import { launcherPaths } from './launcher-paths.js';
import type { WorkerConfig } from './worker.config.js';
import { createWorker } from './worker.js';

/**
 * Runs a worker on RabbitMQ until a signal stops it; a second signal cuts the drain short.
 * @param programFolder where the launchers are
 */
export async function runWorker(config: WorkerConfig, programFolder: string): Promise<void> {
  const logger = createLogger({ name: 'worker', level: config.logLevel });
  Logger.overrideLogger(logger);
  for (const warning of config.warnings) logger.warn(warning, 'main');

  const broker = new AmqpBroker({ url: config.amqpUrl, name: 'worker' });
  const launcher = await startLauncher({
    ...launcherPaths(programFolder),
    cgroup: config.cgroup,
    logger: new Logger('launcher'),
  });
  const worker = await createWorker(config, broker, { launcher });
  onSignals(
    async () => {
      await worker.close();
      await broker.close();
    },
    () => worker.hurry(),
  );
  await worker.start();
}

function onSignals(stop: () => Promise<void>, hurry: () => void): void {
  let stopping = false;
  const receive = () => {
    if (stopping) return hurry();
    stopping = true;
    stop().then(
      // What still has a timer or a socket open has nothing left to do: it must not keep the container waiting.
      () => process.exit(0),
      (error: Error) => {
        new Logger('main').error(`The worker did not stop cleanly: ${error.message}`, error.stack);
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, receive);
}
