import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import { ConfigurationError } from '#shared/config/environment.js';
import { createLogger, type LogLevel } from '#shared/logging/logger.js';
import { readGatewayConfig } from './gateway.config.js';
import { startGateway } from './gateway.js';

async function main(): Promise<void> {
  const { config, amqpUrl, warnings } = readGatewayConfig(process.env);
  const logger = createLogger({ name: 'gateway', level: config.logLevel as LogLevel });
  Logger.overrideLogger(logger);
  for (const warning of warnings) logger.warn(warning);

  const broker = new AmqpBroker({ url: amqpUrl, name: 'labhand gateway', logger });
  await broker.connect();
  const gateway = await startGateway(config, broker, logger);
  logger.log(`listening on ${gateway.url}`);

  let stopping: Promise<void> | undefined;
  const stop = (signal: string) => {
    if (stopping) return;
    logger.log(`${signal}: shutting down`);
    stopping = gateway
      .stop()
      .then(() => broker.close())
      .then(() => process.exit(0));
    stopping.catch((error: Error) => {
      logger.error(`the shutdown failed: ${error.message}`, error.stack);
      process.exit(1);
    });
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main().catch((error: Error) => {
  process.stderr.write(
    `${error instanceof ConfigurationError ? error.message : (error.stack ?? error.message)}\n`,
  );
  process.exit(1);
});
