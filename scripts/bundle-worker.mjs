// Makes the folder with which a worker runs in any image of a Linux with glibc, with nothing installed there:
//
//   node scripts/bundle-worker.mjs [FOLDER] [PREFIX]
//
//   FOLDER  where it is made, dist/labhand when left out
//   PREFIX  where it will stand in the image, /opt/labhand when left out: the program knows its libraries by that path
//
// It needs the built dist/, and on the machine cc, ldd, strip and patchelf. The Node that runs this is the one packed.
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const top = fileURLToPath(new URL('..', import.meta.url));
const folder = path.resolve(process.argv[2] ?? path.join(top, 'dist/labhand'));
const prefix = process.argv[3] ?? '/opt/labhand';

/** What Nest and others ask for only when it is used, and no worker uses. */
const NEVER_USED = [
  '@grpc/grpc-js',
  '@grpc/proto-loader',
  '@nats-io/transport-node',
  '@nestjs/platform-express',
  '@nestjs/websockets',
  '@nestjs/websockets/*',
  'amqp-connection-manager',
  'class-transformer',
  'class-transformer/*',
  'class-validator',
  'ioredis',
  'kafkajs',
  'mqtt',
];
/** What glibc opens by itself to look up hosts and users; the image may have another version of it. */
const LOOKUP_LIBRARIES = ['libnss_dns.so.2', 'libnss_files.so.2', 'libresolv.so.2'];

const programs = path.join(top, 'dist/apps/worker/src');
const nativeLauncher = path.join(top, 'dist/apps/worker/launcher/labhand-launcher');

rmSync(folder, { recursive: true, force: true });
mkdirSync(path.join(folder, 'lib'), { recursive: true });
await bundle('main.js', 'worker.cjs');
await bundle('node-launcher.js', 'node-launcher.cjs');
if (existsSync(nativeLauncher)) copyFileSync(nativeLauncher, path.join(folder, 'labhand-launcher'));
else console.warn('There is no C launcher in dist: jobs will be started by the Node launcher.');
packNode();
compile('worker.c', path.join(folder, 'worker'), '-static', `-DPREFIX="${prefix}"`);

/** One file of CommonJS; its packages may ask for their own address, which CommonJS has no word for. */
async function bundle(program, target) {
  const outfile = path.join(folder, target);
  await build({
    entryPoints: [path.join(programs, program)],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    // Nest reports failures by the names of classes.
    keepNames: true,
    external: NEVER_USED,
    define: { 'import.meta.url': '__importMetaUrl' },
    banner: { js: "const __importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
    logLevel: 'warning',
  });
  say(target);
}

/** This Node with the libraries that it was linked to, so that the image's own do not matter. */
function packNode() {
  const node = path.join(folder, 'node');
  copyFileSync(process.execPath, node);
  const linked = [...run('ldd', process.execPath).matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library);
  const libc = linked.find((library) => path.basename(library) === 'libc.so.6');
  if (libc === undefined) {
    throw new Error(`${process.execPath} is not linked to glibc; run this with the Node of a Debian image.`);
  }
  const lookups = LOOKUP_LIBRARIES.map((name) => path.join(path.dirname(libc), name)).filter(existsSync);
  for (const library of new Set([...linked, ...lookups])) {
    copyFileSync(library, path.join(folder, 'lib', path.basename(library)));
  }
  run('strip', '--strip-unneeded', node);
  const loader = path.basename(run('patchelf', '--print-interpreter', node).trim());
  run('patchelf', '--set-interpreter', `${prefix}/lib/${loader}`, node);
  // Not a runpath: LD_LIBRARY_PATH, which research images like to set, goes before that one.
  run('patchelf', '--force-rpath', '--set-rpath', `${prefix}/lib`, node);
  const hide = 'libhide-process.so';
  compile('hide-process.c', path.join(folder, 'lib', hide), '-shared', '-fPIC');
  run('patchelf', '--add-needed', hide, node);
  say('node');
}

function compile(source, target, ...flags) {
  const file = path.join(top, 'deploy/worker', source);
  run('cc', '-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', ...flags, '-o', target, file);
}

function run(program, ...args) {
  return execFileSync(program, args, { encoding: 'utf8' });
}

function say(name) {
  const { size } = statSync(path.join(folder, name));
  console.log(`${path.join(folder, name)}: ${(size / 2 ** 20).toFixed(1)} MiB`);
}
