import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cancel } from './cancel.js';
import { claims } from './claims.js';
import { summarize, type Figure } from './figures.js';
import { files } from './files.js';
import { House } from './house.js';
import { idle } from './idle.js';
import { isolation } from './isolation.js';
import { latency } from './latency.js';
import { limits } from './limits.js';
import { live } from './live.js';
import { describeMachine, machineLine } from './machine.js';
import type { Part } from './part.js';
import { peers } from './peers.js';
import { recovery } from './recovery.js';
import { skeleton } from './skeleton.js';
import { submissions } from './submissions.js';
import { tableOf } from './table.js';
import { throughput } from './throughput.js';
import { worker } from './worker.js';

const PARTS: Readonly<Record<string, Part>> = {
  limits,
  throughput,
  skeleton,
  peers,
  worker,
  latency,
  live,
  submissions,
  claims,
  files,
  idle,
  cancel,
  recovery,
  isolation,
};

const USAGE = `npm run bench -- [--only ${Object.keys(PARTS).join(',')}] [--rounds 3] [--quick] [--profile FOLDER]`;
const TOP = fileURLToPath(new URL('../..', import.meta.url));
const RESULTS = path.join(TOP, '.cache/bench.json');

async function main(): Promise<void> {
  const { only, rounds, quick, profile } = readOptions();
  const house = await House.start(
    { top: TOP, profiles: profile },
    { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: '/' },
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void house.end().finally(() => process.exit(130)));
  }
  try {
    const machine = describeMachine(await house.versions());
    say(machineLine(machine));
    for (const name of only) await PARTS[name]!.prepare?.(house, { quick });
    const measured: Figure[][] = [];
    for (let round = 1; round <= rounds; round++) {
      const figures: Figure[] = [];
      for (const name of only) {
        say(`round ${round} of ${rounds}: ${name}`);
        figures.push(...(await PARTS[name]!.measure(house, { quick })));
      }
      measured.push(figures);
    }
    const summaries = summarize(measured);
    const notes = only.flatMap((name) => PARTS[name]!.notes?.() ?? []);
    mkdirSync(path.dirname(RESULTS), { recursive: true });
    writeFileSync(RESULTS, JSON.stringify({ machine, notes, quick, summaries, rounds: measured }, null, 2));
    process.stdout.write(`${[machineLine(machine), ...notes, tableOf(summaries)].join('\n\n')}\n`);
  } finally {
    await house.end();
  }
}

interface Options {
  /** Names of parts, in the order of `PARTS`. */
  readonly only: readonly string[];
  readonly rounds: number;
  readonly quick: boolean;
  readonly profile: string | undefined;
}

/** @throws {Error} with a sentence, and how it is used */
function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      profile: { type: 'string' },
    },
  });
  const asked = values.only?.split(',') ?? Object.keys(PARTS);
  const unknown = asked.filter((name) => !(name in PARTS));
  if (unknown.length > 0) throw new Error(`There is no part ${unknown.join(', ')}. ${USAGE}`);
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds takes a whole number. ${USAGE}`);
  return {
    only: Object.keys(PARTS).filter((name) => asked.includes(name)),
    rounds,
    quick: values.quick,
    profile: values.profile && path.resolve(values.profile),
  };
}

/** On standard error: the table alone goes to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

main().catch((error: Error) => {
  say(error.message);
  process.exit(1);
});
