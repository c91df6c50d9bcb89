// Makes the checkout ready to run: installs when package-lock.json asks for it, builds when a source changed.
// Node's own modules only: it runs before anything is installed.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const top = fileURLToPath(new URL('..', import.meta.url));
const NEEDED_NODE = [20, 19];
const SOURCES = ['apps', 'examples', 'libs', 'test', 'bench', 'package.json', 'tsconfig.json'];
/** What the builds read; not the results that an example leaves beside its sources. */
const SOURCE = /\.(ts|json|c|h|mjs)$/;
const BUILD_STAMP = path.join(top, 'dist/.labhand-build');

/** Exits with a sentence when the checkout cannot be made ready. */
export async function setUp() {
  checkNode();
  if (!isInstalled()) {
    await step(
      'Installing the packages (npm ci, less than a minute)',
      ...npm('ci', '--no-audit', '--no-fund'),
    );
  }
  const fingerprint = sourcesFingerprint();
  if (!existsSync(BUILD_STAMP) || readFileSync(BUILD_STAMP, 'utf8') !== fingerprint) {
    rmSync(BUILD_STAMP, { force: true });
    await step('Building', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']);
    await buildLauncher();
    mkdirSync(path.dirname(BUILD_STAMP), { recursive: true });
    writeFileSync(BUILD_STAMP, fingerprint);
  }
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NEEDED_NODE[0] || (major === NEEDED_NODE[0] && minor >= NEEDED_NODE[1])) return;
  fail(
    `Labhand needs Node ${NEEDED_NODE.join('.')} or newer, and this is ${process.versions.node}: ` +
      'install a newer one from https://nodejs.org and start again.',
  );
}

/** Compares with the list that npm leaves when, and only when, an installation is complete. */
function isInstalled() {
  const list = path.join(top, 'node_modules/.package-lock.json');
  if (!existsSync(list)) return false;
  const wanted = JSON.parse(readFileSync(path.join(top, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(list, 'utf8')).packages;
  return Object.entries(wanted).every(([name, { version, optional }]) => {
    if (name === '') return true;
    return installed[name] ? installed[name].version === version : optional === true;
  });
}

function npm(...args) {
  const script = process.env.npm_execpath;
  return script ? [process.execPath, [script, ...args]] : ['npm', args];
}

/** What the build reads, by path, time and size: reading every file would take longer than it is worth. */
function sourcesFingerprint() {
  const hash = createHash('sha256').update(process.version);
  const add = (name) => {
    const file = path.join(top, name);
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats?.isDirectory()) {
      for (const entry of readdirSync(file).sort()) add(path.join(name, entry));
    } else if (stats && SOURCE.test(name)) {
      hash.update(`${name} ${stats.mtimeMs} ${stats.size}\n`);
    }
  };
  SOURCES.forEach(add);
  return hash.digest('hex');
}

/** The C launcher; without a compiler its Node twin does the work, with fewer capabilities. */
async function buildLauncher() {
  const script = 'apps/worker/launcher/build.mjs';
  if (existsSync(path.join(top, script))) await step('Building the launcher', process.execPath, [script]);
}

/** Runs a program without its output, which is shown when it fails. */
async function step(title, program, args) {
  const start = Date.now();
  process.stdout.write(`${title} … `);
  const { code, output } = await outputOf(program, args);
  if (code !== 0) {
    process.stdout.write('failed\n');
    fail(`${output.trimEnd()}\n\n${title}: "${[program, ...args].join(' ')}" failed (${code}), see above.`);
  }
  process.stdout.write(`${((Date.now() - start) / 1000).toFixed(1)} s\n`);
}

function outputOf(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: top, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => resolve({ code: error.code, output: error.message }));
    child.on('close', (code, signal) => resolve({ code: code ?? signal, output }));
  });
}

function fail(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await setUp();
