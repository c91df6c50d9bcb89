import type { StartedTestContainer } from 'testcontainers';
import { startGuard } from './guard.js';
import {
  adminUrl,
  amqpUrl,
  freeBytesWanted,
  newAddress,
  untilReady,
  type RabbitMq,
  type RabbitMqAddress,
} from './rabbitmq-access.js';

const IMAGE = 'rabbitmq:4-management';

/** @throws {Error} no Docker engine answers, or the image cannot be had */
export async function startDockerRabbitMq(): Promise<RabbitMq> {
  const { getContainerRuntimeClient } = await import('testcontainers');
  const client = await getContainerRuntimeClient().catch((error: unknown) => {
    throw new Error('no Docker engine answers', { cause: error });
  });
  const address = await newAddress();
  let container = await runContainer(address);
  let wiped = false;
  const host = container.getHost();
  const handle = () => client.container.getById(container.getId());
  const url = amqpUrl(host, address);
  const admin = adminUrl(host, address);
  const ready = () => untilReady(url, admin, () => undefined);
  await ready();
  return {
    kind: 'docker',
    url,
    adminUrl: admin,
    kill: async () => void (await handle().kill()),
    async wipe() {
      await handle().remove({ force: true, v: true });
      wiped = true;
    },
    freeze: async () => void (await handle().pause()),
    thaw: async () => void (await handle().unpause()),
    diskFull: async (full) =>
      void (await container.exec(['rabbitmqctl', 'set_disk_free_limit', freeBytesWanted(full)])),
    async startAgain() {
      if (wiped) container = await runContainer(address);
      else await handle().start();
      wiped = false;
      await ready();
    },
    async stop() {
      if (!wiped) await handle().remove({ force: true, v: true });
    },
  };
}

async function runContainer({
  user,
  password,
  port,
  adminPort,
}: RabbitMqAddress): Promise<StartedTestContainer> {
  const { GenericContainer, Wait } = await import('testcontainers');
  // The helper that cleans up after killed test runs is one more image to fetch; a guard of ours does it.
  process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';
  try {
    const container = await new GenericContainer(IMAGE)
      .withEnvironment({ RABBITMQ_DEFAULT_USER: user, RABBITMQ_DEFAULT_PASS: password })
      .withExposedPorts({ container: 5672, host: port }, { container: 15672, host: adminPort })
      // `untilReady` knows better than a line in a log.
      .withWaitStrategy(Wait.forLogMessage(/RabbitMQ/))
      .start();
    startGuard('cat >/dev/null; docker rm -f -v "$0"', container.getId());
    return container;
  } catch (error) {
    throw new Error(`the image ${IMAGE} cannot be had or run (${(error as Error).message})`, {
      cause: error,
    });
  }
}
