import type { LoggerService } from '@nestjs/common';
import { AmqpBroker } from '#shared/amqp/amqp-broker.js';
import type { Broker } from '#shared/channel/broker.js';
import { InProcessBroker } from '#shared/channel/in-process-broker.js';
import { testVhost } from './rabbitmq-vhost.js';

/** Keeps what was logged, instead of printing it. */
export class KeptLog implements LoggerService {
  readonly lines: string[] = [];
  readonly log = (message: unknown) => void this.lines.push(`log ${String(message)}`);
  readonly warn = (message: unknown) => void this.lines.push(`warn ${String(message)}`);
  readonly error = (message: unknown) => void this.lines.push(`error ${String(message)}`);
}

export interface TestBroker {
  readonly broker: Broker;
  readonly log: KeptLog;
  /** Closes it and leaves nothing behind. */
  end(): Promise<void>;
}

/** Every implementation, each with queues of its own that are empty. */
export const BROKERS: Readonly<Record<string, () => Promise<TestBroker>>> = {
  RabbitMQ: async () => {
    const vhost = await testVhost();
    const log = new KeptLog();
    const broker = new AmqpBroker({ url: vhost.url, name: 'labhand test', logger: log });
    const end = async () => {
      await broker.close();
      await vhost.remove();
    };
    return { broker, log, end };
  },
  'in process': async () => {
    const log = new KeptLog();
    const broker = new InProcessBroker(log);
    return { broker, log, end: () => broker.close() };
  },
};
