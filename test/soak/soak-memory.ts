import { readFileSync } from 'node:fs';
import { descendants } from '../support/processes.js';
import type { Town } from '../support/town.js';
import { launchersOf } from './soak-faults.js';

const SAMPLE_MS = 5_000;
/** Before it programs still grow into their work. */
const FROM_MINUTE = 5;
const WINDOW_MINUTES = 2;
const MOST_GROWTH = 1.2;

interface Sample {
  readonly minute: number;
  readonly bytes: Readonly<Record<string, number>>;
}

export interface Growth {
  readonly part: string;
  /** Medians, in bytes; undefined where the soak was too short to tell. */
  readonly first?: number;
  readonly last?: number;
  readonly kept: boolean;
}

/** What every part has resident, over the time of the soak. */
export class SoakMemory {
  private readonly samples: Sample[] = [];
  private readonly began = Date.now();
  private timer?: NodeJS.Timeout;

  constructor(private readonly town: Town) {}

  start(): void {
    this.timer = setInterval(
      () => this.samples.push({ minute: this.minute(), bytes: this.now() }),
      SAMPLE_MS,
    );
  }

  /** From minute 5 to the end, medians over two minutes each. */
  stop(): Growth[] {
    clearInterval(this.timer);
    const end = this.minute();
    const parts = new Set(this.samples.flatMap(({ bytes }) => Object.keys(bytes)));
    return [...parts].map((part) => {
      if (end < FROM_MINUTE + 2 * WINDOW_MINUTES) return { part, kept: true };
      const first = this.median(part, FROM_MINUTE, FROM_MINUTE + WINDOW_MINUTES);
      const last = this.median(part, end - WINDOW_MINUTES, end);
      return {
        part,
        first,
        last,
        kept: first === undefined || last === undefined || last <= first * MOST_GROWTH,
      };
    });
  }

  private median(part: string, from: number, to: number): number | undefined {
    const values = this.samples
      .filter(({ minute }) => minute >= from && minute <= to)
      .flatMap(({ bytes }) => bytes[part] ?? [])
      .sort((a, b) => a - b);
    return values[values.length >> 1];
  }

  private minute(): number {
    return (Date.now() - this.began) / 60_000;
  }

  private now(): Record<string, number> {
    const { gateways, workers, postgresPid } = this.town;
    const bytes: Record<string, number> = {};
    const add = (part: string, pids: readonly number[]) => {
      const sum = pids.reduce((total, pid) => total + residentBytes(pid), 0);
      if (sum > 0) bytes[part] = sum;
    };
    for (const program of [...gateways, ...workers]) add(program.name, [program.pid]);
    for (const worker of workers) add(`${worker.name}, launcher`, launchersOf(worker));
    add('Postgres', [postgresPid, ...descendants(postgresPid)]);
    return bytes;
  }
}

/**
 * Its own share of what it has in common with others, but for shared memory: Postgres's buffers, whose size is set, fill
 * up with the soak's data.
 */
function residentBytes(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    const kibibytes = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0);
    return (kibibytes('Pss') - kibibytes('Pss_Shmem')) * 1024;
  } catch {
    return 0;
  }
}
