import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** One line that a command wrote: what it was doing, and in which attempt of which job. */
interface Line {
  readonly what: string;
  readonly job: string;
  readonly attempt: number;
}

/**
 * What commands say of themselves in one file that they all append to, outside of their workspaces. The order of its
 * lines is the order in which things happened.
 */
export class Journal {
  readonly file: string;
  private readonly read: Line[] = [];
  private offset = 0;

  /** In memory that all share: besides their workspaces that is where jobs may write, whoever runs them. */
  constructor() {
    const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'labhand-journal-'));
    chmodSync(folder, 0o755);
    this.file = join(folder, 'journal');
    closeSync(openSync(this.file, 'a'));
    chmodSync(this.file, 0o666);
  }

  close(): void {
    rmSync(dirname(this.file), { recursive: true });
  }

  /** For `sh -c`: takes `ticks` times some 50 ms and writes down that it lives; `end` runs before its end. */
  script(ticks: number | string, end = 'true'): string {
    const say = `say() { echo "$1 $LABHAND_JOB_ID $LABHAND_ATTEMPT" >> '${this.file}'; }`;
    const live = `for tick in $(seq ${ticks}); do sleep 0.05; say tick; done`;
    return `${say}; say start; ${live}; ${end}; say end`;
  }

  /** All lines so far; only what is new is read. */
  lines(): readonly Line[] {
    const fd = openSync(this.file, 'r');
    try {
      const size = fstatSync(fd).size - this.offset;
      const chunk = Buffer.alloc(size);
      const text = chunk.toString('latin1', 0, readSync(fd, chunk, 0, size, this.offset));
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      this.offset += whole.length;
      for (const line of whole.split('\n').slice(0, -1)) {
        const [what, job, attempt] = line.split(' ');
        this.read.push({ what: what!, job: job!, attempt: Number(attempt) });
      }
      return this.read;
    } finally {
      closeSync(fd);
    }
  }

  count(what: string): number {
    return this.lines().filter((line) => line.what === what).length;
  }

  /** What the attempts of one job wrote, such as `start 1`. */
  of(id: string): string[] {
    return this.lines()
      .filter(({ job }) => job === id)
      .map(({ what, attempt }) => `${what} ${attempt}`);
  }

  /** Sentences about attempts that still lived when a later one of the same job had begun. */
  overlaps(): string[] {
    const latest = new Map<string, number>();
    const found = new Set<string>();
    for (const { job, attempt } of this.lines()) {
      const newest = latest.get(job) ?? 0;
      if (attempt < newest) found.add(`attempt ${attempt} of ${job} lived when ${newest} had begun`);
      latest.set(job, Math.max(newest, attempt));
    }
    return [...found];
  }
}
