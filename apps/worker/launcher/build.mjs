// Builds the C launcher into dist where a C compiler is there. Where none is, the Node launcher takes its place, so
// the build never fails for it.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const sources = dirname(fileURLToPath(import.meta.url));
const target = resolve(
  process.argv[2] ?? join(sources, '../../../dist/apps/worker/launcher/labhand-launcher'),
);

const files = readdirSync(sources).map((name) => join(sources, name));
const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);

if (process.platform !== 'linux') {
  console.log('The C launcher is for Linux alone: jobs will be started by the Node launcher.');
} else if (isUpToDate()) {
  console.log(`The C launcher is up to date: ${target}`);
} else if (compiler === undefined) {
  console.log('There is no C compiler here: jobs will be started by the Node launcher.');
} else if (compile(['-static']) || compile([])) {
  console.log(`The C launcher is built: ${target}`);
} else {
  console.log('The C launcher could not be built: jobs will be started by the Node launcher.');
}

function isUpToDate() {
  const built = statSync(target, { throwIfNoEntry: false });
  return built !== undefined && files.every((file) => statSync(file).mtimeMs < built.mtimeMs);
}

/** Static: it starts and forks faster, and runs in any image. Some systems have no static C library installed. */
function compile(linking) {
  mkdirSync(dirname(target), { recursive: true });
  const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', ...linking];
  const code = files.filter((file) => file.endsWith('.c'));
  // Beside it first: a launcher that runs cannot be overwritten, and half a one must not be found.
  const built =
    spawnSync(compiler, [...flags, '-o', `${target}.new`, ...code], { stdio: 'inherit' }).status === 0;
  if (built) renameSync(`${target}.new`, target);
  return built;
}
