import { randomBytes, randomInt } from 'node:crypto';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'amqplib';

/** A RabbitMQ for tests; the URLs are of a user who may do everything. */
export interface RabbitMq {
  readonly kind: 'given' | 'docker' | 'debian';
  /** The default virtual host. */
  readonly url: string;
  /** The management API, user and password included. */
  readonly adminUrl: string;
  /** Nothing of it is left. */
  stop(): Promise<void>;
  /** SIGKILL; its data stays. */
  kill(): Promise<void>;
  /** After `kill`, at the same addresses. */
  startAgain(): Promise<void>;
  /** After `kill`: `startAgain` finds no data. */
  wipe(): Promise<void>;
  /** Stops all of it where it stands. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Whether it takes its disk for full: then it takes no more messages. */
  diskFull(full: boolean): Promise<void>;
}

/** What a way of running RabbitMQ is told. */
export interface RabbitMqAddress {
  readonly port: number;
  readonly adminPort: number;
  readonly user: string;
  readonly password: string;
}

/** Bytes that have to be free by its settings: more than there are, or as by default. */
export const freeBytesWanted = (full: boolean) => String(full ? 2 ** 60 : 50_000_000);

const START_TIMEOUT_MS = 90_000;

export async function newAddress(): Promise<RabbitMqAddress> {
  const [port, adminPort] = await freePorts(2);
  return { port: port!, adminPort: adminPort!, user: 'labhand', password: randomBytes(12).toString('hex') };
}

export function amqpUrl(host: string, { user, password, port }: RabbitMqAddress): string {
  return `amqp://${user}:${password}@${host}:${port}`;
}

export function adminUrl(host: string, { user, password, adminPort }: RabbitMqAddress): string {
  return `http://${user}:${password}@${host}:${adminPort}`;
}

/** Below the ports that kernels give to connections: one of those may be taken before it is listened on. */
const [FIRST_PORT, LAST_PORT] = [10_000, 32_000];

/** Ports that nobody listened on a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  while (servers.length < count) {
    const server = await listening(randomInt(FIRST_PORT, LAST_PORT));
    if (server) servers.push(server);
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Undefined: somebody has the port. */
function listening(port: number): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

/**
 * Resolves when both doors of a starting server open.
 * @throws {Error} `failure` tells of one, or it takes too long
 */
export async function untilReady(
  amqp: string,
  admin: string,
  failure: () => string | undefined,
): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      const connection = await connect(amqp, { timeout: 2_000 });
      connection.on('error', () => undefined);
      await connection.close();
      return await askAdmin(admin, 'GET', '/api/overview').then(() => undefined);
    } catch (error) {
      const failed = failure();
      if (failed) throw new Error(failed, { cause: error });
      if (Date.now() > deadline) throw new Error('RabbitMQ did not come up within 90 s', { cause: error });
      await delay(100);
    }
  }
}

/**
 * One call of the management API.
 * @throws {Error} it is not reached, or answers with a failure
 */
export async function askAdmin(
  admin: string,
  method: 'GET' | 'PUT' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const { origin, username, password } = new URL(admin);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const response = await fetch(origin + path, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok)
    throw new Error(`${method} ${path} of RabbitMQ's management API: ${response.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}
