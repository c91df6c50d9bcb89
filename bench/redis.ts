import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { connect } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { unpackedPackages } from '../test/support/debian-packages.js';
import { freePorts } from '../test/support/rabbitmq-access.js';
import type { House } from './house.js';

/** @throws {Error} it cannot be had, or does not run */
export async function redisVersion(): Promise<string> {
  const { program, variables } = await redis();
  const { stdout } = await promisify(execFile)(program, ['--version'], { env: variables });
  return /v=(\S+)/.exec(stdout)?.[1] ?? stdout.trim();
}

/** A Redis that writes down what it is told, and syncs that every second; its port. It ends with the house's programs. */
export async function startRedis(house: House): Promise<number> {
  const { program, variables } = await redis();
  const [port] = await freePorts(1);
  const settings = {
    bind: '127.0.0.1',
    port: String(port),
    dir: mkdtempSync(path.join(house.folder, 'redis-')),
    appendonly: 'yes',
    appendfsync: 'everysec',
    // Snapshots beside that would be work for nothing.
    save: '',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  await house.startCommand([program, ...options], variables, () => answers(port!));
  return port!;
}

/** From Debian's packages. */
async function redis(): Promise<{ program: string; variables: Record<string, string> }> {
  const tree = await unpackedPackages({ name: 'redis', packages: ['redis-server'] });
  return {
    program: path.join(tree, 'usr/bin/redis-server'),
    variables: { LD_LIBRARY_PATH: path.join(tree, 'usr/lib', `${os.machine()}-linux-gnu`) },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('data', (data) => end(data.toString().startsWith('+PONG')));
    socket.on('error', () => end(false));
  });
}
