import type { RabbitMq } from './rabbitmq-access.js';
import { startDebianRabbitMq } from './rabbitmq-debian.js';
import { startDockerRabbitMq } from './rabbitmq-docker.js';

/**
 * The server of LABHAND_TEST_AMQP_URL (with its management API at LABHAND_TEST_AMQP_ADMIN_URL, else at port
 * 15672 of the same host), else one of our own.
 * @throws {Error} none can be had; the message says what to do
 */
export async function startRabbitMq(): Promise<RabbitMq> {
  const given = process.env.LABHAND_TEST_AMQP_URL;
  return given ? givenRabbitMq(given) : startOwnRabbitMq();
}

/**
 * A server of our own, which may be killed: in Docker when an engine answers, else from Debian's packages.
 * LABHAND_TEST_RABBITMQ=docker or =debian decides for one of them.
 * @throws {Error} none can be had; the message says what to do
 */
export async function startOwnRabbitMq(): Promise<RabbitMq> {
  const forced = process.env.LABHAND_TEST_RABBITMQ;
  if (forced === 'docker') return startDockerRabbitMq();
  if (forced === 'debian') return startDebianRabbitMq();
  if (forced) throw new Error(`LABHAND_TEST_RABBITMQ is "${forced}"; expected docker or debian`);
  let whyNotDocker: unknown;
  try {
    return await startDockerRabbitMq();
  } catch (error) {
    whyNotDocker = error;
    console.warn(`RabbitMQ comes from Debian's packages: ${(error as Error).message}`);
  }
  try {
    return await startDebianRabbitMq();
  } catch (error) {
    throw new Error(
      `no RabbitMQ for the tests: Docker: ${(whyNotDocker as Error).message}; ` +
        `Debian: ${(error as Error).message}. Start a Docker engine, or run on Debian or Ubuntu with apt-get, ` +
        'or name a server by LABHAND_TEST_AMQP_URL',
      { cause: error },
    );
  }
}

function givenRabbitMq(url: string): RabbitMq {
  const { username, password, hostname } = new URL(url);
  const credentials = `${username || 'guest'}:${password || 'guest'}`;
  const refuse = async () => {
    throw new Error('the RabbitMQ of LABHAND_TEST_AMQP_URL is not ours to kill; use startOwnRabbitMq()');
  };
  return {
    kind: 'given',
    url,
    adminUrl: process.env.LABHAND_TEST_AMQP_ADMIN_URL ?? `http://${credentials}@${hostname}:15672`,
    stop: async () => undefined,
    kill: refuse,
    startAgain: refuse,
    wipe: refuse,
    freeze: refuse,
    thaw: refuse,
    diskFull: refuse,
  };
}
