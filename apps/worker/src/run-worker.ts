import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import { createLogger } from '#shared/logging/logger.js';
import { startLauncher } from './launcher-client.js';
import { launcherPaths } from './launcher-paths.js';
import type { WorkerConfig } from './worker.config.js';
import { createWorker } from './worker.js';

/**
 * Runs a worker on RabbitMQ until a signal or a reason of its own stops it; a second signal cuts the drain short.
 * @param programFolder where the launchers are
 */
export async function runWorker(config: WorkerConfig, programFolder: string): Promise<void> {
  const logger = createLogger({ name: 'worker', level: config.logLevel });
  Logger.overrideLogger(logger);
  for (const warning of config.warnings) logger.warn(warning, 'main');

  const broker = new AmqpBroker({ url: config.amqpUrl, name: 'worker', declares: false });
  const launcher = await startLauncher({
    ...launcherPaths(programFolder),
    cgroup: config.cgroup,
    logger: new Logger('launcher'),
  });
  const worker = await createWorker(config, broker, { launcher });
  const stop = (close: () => Promise<void>) => void exitAfter(close().then(() => broker.close()));
  onSignals(
    () => stop(() => worker.close()),
    () => worker.hurry(),
  );
  void worker.retired.then(() => stop(() => worker.leave()));
  await worker.start();
}

function onSignals(stop: () => void, hurry: () => void): void {
  let stopping = false;
  const receive = () => {
    if (stopping) return hurry();
    stopping = true;
    stop();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, receive);
}

async function exitAfter(stopped: Promise<void>): Promise<never> {
  try {
    await stopped;
  } catch (error) {
    const { message, stack } = error as Error;
    new Logger('main').error(`The worker did not stop cleanly: ${message}`, stack);
    process.exit(1);
  }
  // What still has a timer or a socket open has nothing left to do: it must not keep the container waiting.
  process.exit(0);
}
