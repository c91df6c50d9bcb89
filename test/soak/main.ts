import { randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { CallbackReceiver } from '../support/callback-receiver.js';
import { Journal } from '../support/journal.js';
import { processesWith } from '../support/processes.js';
import { Town } from '../support/town.js';
import { Choice } from './choice.js';
import { balance, type Book } from './soak-books.js';
import { SOAK_LEASE, SoakFaults } from './soak-faults.js';
import { SoakJobs } from './soak-jobs.js';
import { SoakMemory, type Growth } from './soak-memory.js';

const USAGE = 'npm run soak [-- --minutes 30 --seed <number> --submitters 16]';

const OPTIONS = {
  minutes: { type: 'string', default: '30' },
  seed: { type: 'string' },
  submitters: { type: 'string', default: '16' },
} as const;

/** Random jobs under random faults on a whole Labhand, and then the books. */
async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS });
  const [minutes, submitters] = [Number(values.minutes), Number(values.submitters)];
  const seed = Number(values.seed ?? randomInt(2 ** 31));
  if (![minutes, submitters, seed].every((number) => number > 0)) throw new Error(`expected ${USAGE}`);
  say(`${minutes} minutes, seed ${seed} (--seed ${seed} makes the same choices)`);

  const town = await Town.start({
    gateways: 2,
    workers: 3,
    slots: 6,
    amqpHeartbeat: 3,
    gateway: { LABHAND_LEASE: String(SOAK_LEASE), LABHAND_HEARTBEAT: '1' },
  });
  say(`its folder is ${town.folder}`);
  const receiver = await CallbackReceiver.listen();
  const journal = new Journal();
  const jobs = new SoakJobs(town, journal, receiver, new Choice(seed));
  const faults = new SoakFaults(town, new Choice(seed + 1));
  const memory = new SoakMemory(town);

  memory.start();
  const time = AbortSignal.timeout(minutes * 60_000);
  const submitting = jobs.submit(submitters, time);
  const talk = setInterval(() => say(`${jobs.accepted.length} jobs so far`), 60_000);
  await faults.strike(time);
  const growth = memory.stop();
  await town.ready();
  await Promise.race([submitting, pause(180_000, undefined, { ref: false })]);
  clearInterval(talk);
  const [open] = await town.rows<{ jobs: number }>(
    'SELECT count(*)::integer AS jobs FROM jobs WHERE finished_at IS NULL',
  );
  say(`${jobs.accepted.length} jobs in all, ${open!.jobs} of them not over yet`);

  const books = await balance(town, journal, receiver, jobs.accepted);
  await receiver.close();
  journal.close();
  books.push(await ended(town));
  report(books, growth, faults.struck);
  const balanced = books.every((book) => book.faults.length === 0) && growth.every(({ kept }) => kept);
  say(balanced ? 'every book balances' : `A BOOK DOES NOT BALANCE (seed ${seed})`);
  return balanced ? 0 : 1;
}

async function ended(town: Town): Promise<Book> {
  const codes = await town.end();
  const faults = [
    ...codes.filter((code) => code !== 0).map((code) => `a program ended with ${code}`),
    ...processesWith(town.folder).map((pid) => `process ${pid} is left`),
  ];
  return { book: 'everything stops when it is told to', checked: codes.length, faults };
}

function report(
  books: readonly Book[],
  growth: readonly Growth[],
  struck: ReadonlyMap<string, number>,
): void {
  const lines = [
    '',
    '| fault | times |',
    '| --- | --: |',
    ...[...struck].sort().map(([what, times]) => `| ${what} | ${times} |`),
    '',
    '| resident memory of | minutes 5 to 10 | last five minutes | |',
    '| --- | --: | --: | --- |',
    ...growth.map(
      ({ part, first, last, kept }) =>
        `| ${part} | ${megabytes(first)} | ${megabytes(last)} | ${first === undefined || last === undefined ? 'too little to tell' : kept ? 'within 20 %' : 'GROWS'} |`,
    ),
    '',
    '| book | checked | balances |',
    '| --- | --: | --- |',
    ...books.map(({ book, checked, faults }) => `| ${book} | ${checked} | ${verdict(faults)} |`),
    '',
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function verdict(faults: readonly string[]): string {
  return faults.length === 0 ? 'yes' : `NO: ${faults.length}, such as ${faults.slice(0, 3).join('; ')}`;
}

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? '' : `${(bytes / 2 ** 20).toFixed(1)} MB`;
}

function say(text: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

main().then(
  (code) => process.exit(code),
  (error: Error) => {
    process.stderr.write(`${error.stack ?? error.message}\n`);
    process.exit(1);
  },
);
