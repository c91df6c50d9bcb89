import { randomUUID } from 'node:crypto';
import { askAdmin, type RabbitMq } from './rabbitmq-access.js';

/** A virtual host: queues and exchanges that no other test sees. */
export interface TestVhost {
  readonly name: string;
  readonly url: string;
  deleteQueue(queue: string): Promise<void>;
  queueExists(queue: string): Promise<boolean>;
  /** A user who may do that much there; the URL with which to connect as one. It goes away with the virtual host. */
  addUser(rights: Rights): Promise<string>;
  remove(): Promise<void>;
}

/** Regular expressions on names of queues and exchanges. */
export interface Rights {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
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
  const users: string[] = [];
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
    addUser: async (rights) => {
      const userUrl = new URL(url);
      [userUrl.username, userUrl.password] = [`user-${randomUUID()}`, 'secret'];
      users.push(userUrl.username);
      await askAdmin(admin, 'PUT', `/api/users/${userUrl.username}`, { password: 'secret', tags: '' });
      await askAdmin(admin, 'PUT', `/api/permissions/${name}/${userUrl.username}`, rights);
      return userUrl.href;
    },
    remove: async () => {
      await askAdmin(admin, 'DELETE', `/api/vhosts/${name}`);
      for (const it of users) await askAdmin(admin, 'DELETE', `/api/users/${it}`);
    },
  };
}

function ofThisRun(): Pick<RabbitMq, 'url' | 'adminUrl'> {
  const { LABHAND_RUN_AMQP_URL: url, LABHAND_RUN_AMQP_ADMIN_URL: adminUrl } = process.env;
  if (!url || !adminUrl) throw new Error('no RabbitMQ was started for this run: is this test below test/?');
  return { url, adminUrl };
}
