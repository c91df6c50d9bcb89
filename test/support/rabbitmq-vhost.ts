import { randomUUID } from 'node:crypto';
import { askAdmin, type RabbitMq } from './rabbitmq-access.js';

/** A virtual host: queues and exchanges that no other test sees. */
export interface TestVhost {
  readonly name: string;
  readonly url: string;
  deleteQueue(queue: string): Promise<void>;
  queueExists(queue: string): Promise<boolean>;
  remove(): Promise<void>;
}

/** One of the server that the test run started, or of `server`. */
export async function testVhost(
  server: Pick<RabbitMq, 'url' | 'adminUrl'> = ofThisRun(),
  name = `test-${randomUUID()}`,
): Promise<TestVhost> {
  const admin = server.adminUrl;
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  const user = url.username || 'guest';
  await askAdmin(admin, 'PUT', `/api/vhosts/${name}`, {});
  const all = { configure: '.*', write: '.*', read: '.*' };
  await askAdmin(admin, 'PUT', `/api/permissions/${name}/${user}`, all);
  const queuePath = (queue: string) => `/api/queues/${name}/${encodeURIComponent(queue)}`;
  return {
    name,
    url: url.href,
    deleteQueue: async (queue) => void (await askAdmin(admin, 'DELETE', queuePath(queue))),
    queueExists: (queue) =>
      askAdmin(admin, 'GET', queuePath(queue)).then(
        () => true,
        (error: Error) => {
          if (error.message.includes(' 404 ')) return false;
          throw error;
        },
      ),
    remove: async () => void (await askAdmin(admin, 'DELETE', `/api/vhosts/${name}`)),
  };
}

function ofThisRun(): Pick<RabbitMq, 'url' | 'adminUrl'> {
  const { LABHAND_RUN_AMQP_URL: url, LABHAND_RUN_AMQP_ADMIN_URL: adminUrl } = process.env;
  if (!url || !adminUrl) throw new Error('no RabbitMQ was started for this run: is this test below test/?');
  return { url, adminUrl };
}
