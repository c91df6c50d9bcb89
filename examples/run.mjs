// `npm run example`: submits a real job to a running Labhand, follows it, and shows what it found.
//
//   npm run example                              the protein example, on the server that `npm start` started
//   npm run example -- sequence-composition      the one in Python
//   npm run example -- --url URL --key KEY       another server (or LABHAND_URL and LABHAND_KEY)
//   npm run example -- --out FOLDER              where the archive goes; by default examples/out
import { createWriteStream, existsSync, mkdirSync, openAsBlob, readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = fileURLToPath(new URL('.', import.meta.url));
const top = path.dirname(path.resolve(here));

const EXAMPLES = {
  'protein-contacts': {
    command: ['node', 'contacts.mjs', 'model.pdb'],
    files: ['contacts.mjs', 'protein.mjs', 'picture.mjs', 'model.pdb'],
    table: 'residues.tsv',
    report: 'report.txt',
    picture: 'contact-map.svg',
  },
  'sequence-composition': {
    command: ['python3', 'composition.py', 'sequences.fasta'],
    files: ['composition.py', 'sequences.fasta'],
    table: 'composition.tsv',
    report: 'report.txt',
    picture: 'hydropathy.svg',
  },
};
const TABLE_ROWS = 12;
const TABLE_COLUMNS = 8;
const LOG_LINES = 10;
const START_HINT =
  'Start the server with "npm start" in another terminal, and wait until it says that it is ready.';
const FINAL_STATES = ['succeeded', 'failed', 'canceled'];

/** The server answered, and said no. */
class Refused extends Error {}

const { url, key, name, queue, out } = settings();
try {
  const job = await follow(await submit(name));
  await printLog(job);
  if (job.state === 'succeeded') await printResults(job);
  await saveArchive(job);
  if (job.state !== 'succeeded') process.exitCode = 1;
} catch (error) {
  console.error(explain(error));
  process.exitCode = 1;
}

function settings() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: { type: 'string' },
      key: { type: 'string' },
      queue: { type: 'string', default: 'default' },
      out: { type: 'string', default: path.join(here, 'out') },
    },
  });
  const [example = 'protein-contacts'] = positionals;
  if (!Object.hasOwn(EXAMPLES, example)) {
    stop(`There is no example "${example}"; there are: ${Object.keys(EXAMPLES).join(', ')}.`);
  }
  const address = values.url ?? process.env.LABHAND_URL ?? standaloneUrl();
  return {
    url: address.replace(/\/$/, ''),
    key: values.key ?? process.env.LABHAND_KEY ?? standaloneKey(),
    name: example,
    queue: values.queue,
    out: values.out,
  };
}

function dataFolder() {
  return path.resolve(top, process.env.LABHAND_DATA ?? '.labhand');
}

/** The standalone says where it listens, whichever port it was given. */
function standaloneUrl() {
  const file = path.join(dataFolder(), 'url');
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : 'http://127.0.0.1:8080';
}

function standaloneKey() {
  const file = path.join(dataFolder(), 'admin-key');
  if (!existsSync(file)) stop(`There is no key in ${file}. ${START_HINT}`);
  return readFileSync(file, 'utf8').trim();
}

async function submit(example) {
  const { command, files } = EXAMPLES[example];
  const form = new FormData();
  const job = { queue, name: `example: ${example}`, command, limits: { wallTime: '10m' } };
  form.append('job', new Blob([JSON.stringify(job)], { type: 'application/json' }));
  for (const file of files) form.append('file', await openAsBlob(path.join(here, example, file)), file);
  const submitted = await (await call('/v1/jobs', { method: 'POST', body: form })).json();
  console.log(`Submitted ${files.length} files as job ${submitted.id}\n  ${command.join(' ')}`);
  return submitted;
}

/** Asks until the job is final; each answer comes when it is, or after half a second with how far it got. */
async function follow(job) {
  let shown = '';
  while (!FINAL_STATES.includes(job.state)) {
    shown = show(job, shown);
    job = await (await call(`/v1/jobs/${job.id}?wait=0.5`)).json();
  }
  show(job, shown);
  if (job.message) console.log(`  ${job.message}`);
  return job;
}

function show(job, shown) {
  const { progress } = job;
  const line =
    `  ${job.state}${progress ? ` ${progress.percent} % ${progress.message ?? ''}` : ''}`.trimEnd();
  if (line !== shown) console.log(line);
  return line;
}

async function printLog({ id }) {
  const log = async (stream) => (await call(`/v1/jobs/${id}/logs?stream=${stream}&tail=4000`)).text();
  const lines = `${await log('stdout')}${await log('stderr')}`.trimEnd().split('\n').slice(-LOG_LINES);
  console.log(`\nThe end of its log\n${indent(lines.join('\n'))}`);
}

async function printResults({ id }) {
  const { table, report } = EXAMPLES[name];
  const text = async (file) => (await call(`/v1/jobs/${id}/files/${file}`)).text();
  const rows = (await text(table))
    .trim()
    .split('\n')
    .map((row) => row.split('\t'));
  console.log(`\n${report}\n${indent(await text(report))}`);
  console.log(`\n${table}, the first of ${rows.length - 1} rows\n${indent(aligned(rows))}`);
}

function aligned(rows) {
  const shown = rows.slice(0, TABLE_ROWS + 1).map((row) => row.slice(0, TABLE_COLUMNS));
  const widths = shown[0].map((_, column) => Math.max(...shown.map((row) => row[column].length)));
  return shown.map((row) => row.map((cell, column) => cell.padEnd(widths[column] + 2)).join('')).join('\n');
}

function indent(text) {
  return text.trimEnd().replace(/^/gm, '  ');
}

async function saveArchive({ id }) {
  mkdirSync(out, { recursive: true });
  const file = path.join(out, `${name}-${id}.zip`);
  const response = await call(`/v1/jobs/${id}/archive.zip`);
  await pipeline(Readable.fromWeb(response.body), createWriteStream(file));
  console.log(
    `\nAll output files, the picture ${EXAMPLES[name].picture} among them:\n  ${path.relative(process.cwd(), file)}`,
  );
}

async function call(route, options = {}) {
  const response = await fetch(url + route, { ...options, headers: { authorization: `Bearer ${key}` } });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const faults = (problem.errors ?? []).map((fault) => `\n  ${fault.path}: ${fault.message}`).join('');
  throw new Refused(
    `${route} was answered with ${response.status} ${problem.title ?? ''}: ${problem.detail ?? ''}${faults}`,
  );
}

function explain(error) {
  if (error instanceof Refused) return error.message;
  const cause = error.cause?.code ?? error.cause?.message ?? error.message;
  return `No answer from ${url} (${cause}). ${START_HINT}`;
}

function stop(sentence) {
  console.error(sentence);
  process.exit(2);
}
