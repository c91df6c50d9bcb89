import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { unpackedPackages } from './debian-packages.js';

/**
 * The folder into which Debian's rabbitmq-server and the Erlang that it needs are unpacked.
 * @throws {Error} they cannot be had
 */
export function unpackedRabbitMq(): Promise<string> {
  return unpackedPackages({
    name: 'rabbitmq',
    packages: ['rabbitmq-server'],
    // An installed Erlang may lack parts, and stands elsewhere: apt shall fetch a whole one.
    whole: ['erlang', 'rabbitmq'],
    finish: makeMovable,
  });
}

/** Erlang's scripts have their folder written into them. */
async function makeMovable(tree: string): Promise<void> {
  const erlang = path.join(tree, 'usr/lib/erlang');
  const runtime = (await readdir(erlang)).filter((name) => name.startsWith('erts-'));
  for (const folder of ['bin', ...runtime.map((name) => path.join(name, 'bin'))]) {
    const script = path.join(erlang, folder, 'erl');
    const text = await readFile(script, 'utf8');
    await writeFile(script, text.replaceAll(/ROOTDIR=\/usr\/lib\/erlang$/gm, 'ROOTDIR="$ERL_ROOTDIR"'));
  }
}
