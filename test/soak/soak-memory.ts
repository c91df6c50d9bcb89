import { readFileSync } from 'node:fs';
import { descendants } from '../support/processes.js';
import type { Town } from '../support/town.js';
import { launchersOf } from './soak-faults.js';

const SAMPLE_MS = 5_000;
/** Before it programs still grow into their work. */
const FROM_MINUTE = 5;
const WINDOW_MINUTES = 5;
const MOST_GROWTH = 1.2;
/**
 * Seconds since its start in which a program that is started again and again is looked at: any program grows in its
 * first minutes, and medians over programs of all ages say how old they were.
 */
const YOUNG = { from: 30, to: 60 };

interface Look {
  readonly minute: number;
  readonly pid: number;
  /** Seconds for which this process is known. */
  readonly age: number;
  readonly bytes: number;
}

export interface Growth {
  readonly part: string;
  /** Medians, in bytes; undefined where there was too little to tell. */
  readonly first?: number;
  readonly last?: number;
  readonly kept: boolean;
}

/** What every part has resident, over the time of the soak. */
export class SoakMemory {
  private readonly looks = new Map<string, Look[]>();
  private readonly began = Date.now();
  private timer?: NodeJS.Timeout;

  constructor(private readonly town: Town) {}

  start(): void {
    this.timer = setInterval(() => this.lookAtAll(), SAMPLE_MS);
  }

  /** From minute 5 to the end, medians over five minutes each. */
  stop(): Growth[] {
    clearInterval(this.timer);
    const end = this.minute();
    return [...this.looks].map(([part, looks]) => {
      if (end < FROM_MINUTE + 2 * WINDOW_MINUTES) return { part, kept: true };
      const alike = comparable(looks);
      const first = median(alike, FROM_MINUTE, FROM_MINUTE + WINDOW_MINUTES);
      const last = median(alike, end - WINDOW_MINUTES, end);
      const kept = first === undefined || last === undefined || last <= first * MOST_GROWTH;
      return { part, first, last, kept };
    });
  }

  private minute(): number {
    return (Date.now() - this.began) / 60_000;
  }

  private lookAtAll(): void {
    const { gateways, workers, postgresPid } = this.town;
    for (const program of [...gateways, ...workers]) this.lookAt(program.name, [program.pid]);
    for (const worker of workers) this.lookAt(`${worker.name}, launcher`, launchersOf(worker));
    this.lookAt('Postgres', [postgresPid, ...descendants(postgresPid)]);
  }

  /** @param pids of the part, its first process in front */
  private lookAt(part: string, pids: readonly number[]): void {
    const bytes = pids.reduce((total, pid) => total + residentBytes(pid), 0);
    if (bytes === 0) return;
    const minute = this.minute();
    const looks = this.looks.get(part) ?? [];
    const firstSeen = looks.find(({ pid }) => pid === pids[0])?.minute ?? minute;
    this.looks.set(part, [...looks, { minute, pid: pids[0]!, age: (minute - firstSeen) * 60, bytes }]);
  }
}

function comparable(looks: readonly Look[]): readonly Look[] {
  const isStartedAgain = new Set(looks.map(({ pid }) => pid)).size > 1;
  return isStartedAgain ? looks.filter(({ age }) => age >= YOUNG.from && age <= YOUNG.to) : looks;
}

function median(looks: readonly Look[], from: number, to: number): number | undefined {
  const values = looks
    .filter(({ minute }) => minute >= from && minute <= to)
    .map(({ bytes }) => bytes)
    .sort((a, b) => a - b);
  return values[values.length >> 1];
}

/** But for shared memory: Postgres's buffers, whose size is set, fill up with the soak's data. */
function residentBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const kibibytes = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
    return (kibibytes('VmRSS') - kibibytes('RssShmem')) * 1024;
  } catch {
    return 0;
  }
}
