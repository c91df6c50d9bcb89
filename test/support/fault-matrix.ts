import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { Fault, Row } from '../faults/fault-rows.js';
import { Journal } from './journal.js';
import { jobProcesses, processesWith } from './processes.js';
import { eventually } from './signals.js';
import { QUEUES, Stage, type Holds } from './stage.js';
import { Town, type TownOptions } from './town.js';

/** Longer than the ways to the moments take on a busy machine, and short enough to wait for. */
const LEASE = 8;

/** Makes it happen and mends it; what is held at its moment is let go when it is done, or before. */
export type Infliction = (town: Town, stage: Stage) => Promise<void>;

/** Time itself is the fault: nothing could be waited for. */
export const longerThanALease = () => pause((LEASE + 1) * 1000);

/**
 * One test for each row: jobs stand at all the moments of a fault while it befalls its part once, and each has to
 * come to its one end.
 * @param inflictions by part and what befalls it
 */
export function testFaults(
  faults: readonly Fault[],
  inflictions: Readonly<Record<string, Infliction>>,
  options: TownOptions = {},
): void {
  let town: Town;
  let journal: Journal;

  it('has an infliction for each fault', () => {
    expect(Object.keys(inflictions).sort()).toEqual(faults.map(({ what, part }) => key(part, what)).sort());
  });

  beforeAll(async () => {
    town = await Town.start({
      queues: QUEUES,
      amqpHeartbeat: 2,
      ...options,
      gateway: { LABHAND_LEASE: String(LEASE), ...options.gateway },
    });
    journal = new Journal();
  });
  afterAll(async () => {
    const codes = await town.end();
    journal.close();
    expect(codes.filter((code) => code !== 0)).toEqual([]);
    expect(processesWith(town.folder)).toEqual([]);
  });

  describe.each(faults)('the $part $what', (fault) => {
    const { part, what, rows } = fault;
    let stage: Stage;

    beforeAll(async () => {
      stage = new Stage(town, journal, holdsFor(fault));
      try {
        await stage.reach(rows.map(({ moment }) => moment));
        await inflictions[key(part, what)]!(town, stage);
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${town.lastWords()}`, { cause: error });
      } finally {
        stage.release();
      }
    });
    afterAll(() => town.ready());

    it.each(rows)('a job $moment $fact', async (row: Row) => {
      try {
        await balance(await stage.final(row.moment), row);
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${town.lastWords()}`, { cause: error });
      }
    });
  });

  async function balance(job: JobView, { end }: Row): Promise<void> {
    if (end.state)
      expect({ state: job.state, reason: job.reason }).toEqual({ state: end.state, reason: end.reason });
    expect([end.attempts].flat()).toContain(job.attempt);
    if (end.runs) {
      expect(journal.of(job.id).filter((line) => line.startsWith('start '))).toHaveLength(end.runs);
    }
    const events = await town.rows<{ state: string }>('SELECT state FROM events WHERE job_id = $1', [job.id]);
    expect(events.filter(({ state }) => ['succeeded', 'failed', 'canceled'].includes(state))).toHaveLength(1);
    expect(journal.overlaps()).toEqual([]);
    await outputsAreWhole(job);
    await nothingIsLeft();
    expect(town.faults()).toEqual([]);
  }

  /** The command said what the hash of its file is. */
  async function outputsAreWhole(job: JobView): Promise<void> {
    const said = /^([0-9a-f]{64}) /m.exec(job.logs?.stdout.tail ?? '')?.[1];
    if (said === undefined || job.state !== 'succeeded') return;
    const { body } = await town.client.get<Buffer>(`${job.links.files}/out.bin`);
    expect(createHash('sha256').update(body).digest('hex')).toBe(said);
  }

  async function nothingIsLeft(): Promise<void> {
    await eventually(() => town.leftovers().join(), '', 30_000);
    await eventually(() => jobProcesses(town.folder).length, 0);
    await eventually(() => town.unfinishedBlobs().join(), '');
  }
}

const key = (part: string, what: string) => `${part} ${what}`;

/** Where the fault strikes, there the jobs are held. */
function holdsFor({ part, what }: Fault): Holds {
  const behind = part === 'gateway' || part === 'database' || what.startsWith('between gateway');
  return { request: behind ? 'commit' : 'answer', upload: part === 'blob store' ? 'store' : 'gateway' };
}

/** Kills programs, and starts them again when `meanwhile` is done. */
export async function restarted(
  programs: Town['programs'],
  meanwhile: () => Promise<void> | void = () => undefined,
): Promise<void> {
  await Promise.all(programs.map((program) => program.end('SIGKILL')));
  await meanwhile();
  for (const program of programs) program.start();
}

/** Stops processes where they stand, until `meanwhile` is done. */
export async function frozen(pids: readonly number[], meanwhile: () => Promise<void>): Promise<void> {
  signalAll(pids, 'SIGSTOP');
  await meanwhile();
  signalAll(pids, 'SIGCONT');
}

/** Nine parts of ten stopped, for longer than a lease; the jobs are on their way meanwhile. */
export async function starved(
  stopped: (meanwhile: () => Promise<void>) => Promise<void>,
  stage: Stage,
): Promise<void> {
  await stopped(async () => stage.release());
  for (const end = Date.now() + (LEASE + 1) * 1000; Date.now() < end; await pause(50)) {
    await stopped(() => pause(450));
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}
