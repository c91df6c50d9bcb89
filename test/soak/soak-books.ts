import { createHash } from 'node:crypto';
import { DirectoryBlobStore } from '#gateway/files/directory-blob-store.js';
import { OrphanFiles } from '#gateway/files/orphan-files.js';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { CallbackReceiver } from '../support/callback-receiver.js';
import type { Journal } from '../support/journal.js';
import { jobProcesses } from '../support/processes.js';
import { eventually } from '../support/signals.js';
import { filesBelow, type Town } from '../support/town.js';
import type { Accepted } from './soak-jobs.js';

/** One thing that has to be so after a soak, and what speaks against it. */
export interface Book {
  readonly book: string;
  readonly checked: number;
  readonly faults: readonly string[];
}

const SETTLE_MS = 90_000;
const FINAL = ['succeeded', 'failed', 'canceled'];

/** Does the books when every job has had its time to end. */
export async function balance(
  town: Town,
  journal: Journal,
  receiver: CallbackReceiver,
  accepted: readonly Accepted[],
): Promise<Book[]> {
  await settle(town);
  const ids = accepted.map(({ id }) => id);
  const rows = await town.rows<{ id: string; state: string; reason: string | null }>(
    'SELECT id, state, reason FROM jobs',
  );
  const jobs = new Map(rows.map((row) => [row.id, row]));
  const events = await town.rows<{ job_id: string; finals: number }>(
    `SELECT job_id, count(*)::integer AS finals FROM events WHERE state = ANY ($1) GROUP BY job_id`,
    [FINAL],
  );
  const finals = new Map(events.map(({ job_id, finals }) => [job_id, finals]));
  const book = (name: string, checked: number, faults: readonly string[]): Book => ({
    book: name,
    checked,
    faults,
  });
  return [
    book(
      'every accepted job is there',
      ids.length,
      ids.filter((id) => !jobs.has(id)),
    ),
    book(
      'no other job is there',
      rows.length,
      rows.map(({ id }) => id).filter((id) => !ids.includes(id)),
    ),
    book(
      'every job has one final state, and it is one that it may have',
      ids.length,
      accepted.flatMap(({ id, kind, ends }) => {
        const job = jobs.get(id);
        const end = [job?.state, job?.reason].filter(Boolean).join(' ');
        return ends.includes(end) ? [] : [`${id} (${kind}) is ${end}`];
      }),
    ),
    book(
      'every job has one final event',
      ids.length,
      ids.filter((id) => finals.get(id) !== 1).map((id) => `${id} has ${finals.get(id) ?? 0}`),
    ),
    callbacks(receiver, accepted),
    book('no attempt overlaps another one of its job', journal.lines().length, journal.overlaps()),
    await outputs(town, accepted),
    book(
      'no process of a job is left',
      1,
      jobProcesses(town.folder).map((pid) => `process ${pid}`),
    ),
    book('no workspace and no spooled file is left', town.workers.length, town.leftovers()),
    book('no blob is there without its job, once it is swept', jobs.size, await strayBlobs(town, jobs)),
    book('no program ended by itself', town.programs.length, town.faults()),
  ];
}

/** Every job has ended, every callback was tried, every worker has cleaned up: or has not in all this time. */
async function settle(town: Town): Promise<void> {
  const count = async (what: string) => (await town.rows<{ n: number }>(what))[0]!.n;
  const patiently = async (waiting: Promise<void>) => waiting.catch(() => undefined);
  await patiently(
    eventually(
      () => count('SELECT count(*)::integer AS n FROM jobs WHERE finished_at IS NULL'),
      0,
      SETTLE_MS,
    ),
  );
  // A gateway that was killed in the middle of a try holds it for a minute: let the minute be over.
  await town.rows(`UPDATE deliveries SET next_try_at = now() WHERE state = 'due'`);
  await patiently(
    eventually(
      () => count(`SELECT count(*)::integer AS n FROM deliveries WHERE state = 'due'`),
      0,
      SETTLE_MS,
    ),
  );
  await patiently(eventually(() => town.leftovers().length + jobProcesses(town.folder).length, 0, SETTLE_MS));
}

/** At least once for each job that asked for it, with one id for its one final event. */
function callbacks(receiver: CallbackReceiver, accepted: readonly Accepted[]): Book {
  const ids = new Map<string, Set<string>>();
  for (const { headers, body } of receiver.received) {
    const { data } = JSON.parse(body) as { data: JobView };
    ids.set(data.id, (ids.get(data.id) ?? new Set()).add(String(headers['webhook-id'])));
  }
  const asked = accepted.filter(({ calledBack }) => calledBack);
  return {
    book: 'every callback came, under one id',
    checked: asked.length,
    faults: asked
      .filter(({ id }) => ids.get(id)?.size !== 1)
      .map(({ id }) => `${id} has ${ids.get(id)?.size ?? 0} ids`),
  };
}

/** The commands said what the hashes of their files are. */
async function outputs(town: Town, accepted: readonly Accepted[]): Promise<Book> {
  const withFiles = accepted.filter(({ kind }) => kind === 'with files');
  const faults: string[] = [];
  for (const { id } of withFiles) {
    const { body: job } = await town.client.get(`/v1/jobs/${id}`);
    const said = /^([0-9a-f]{64}) /m.exec(job.logs?.stdout.tail ?? '')?.[1];
    const { body } = await town.client.get<Buffer>(`/v1/jobs/${id}/files/out.bin`);
    const is = Buffer.isBuffer(body) && createHash('sha256').update(body).digest('hex');
    if (is !== said) faults.push(`${id} has other bytes than it wrote`);
  }
  return { book: 'every output file is whole', checked: withFiles.length, faults };
}

/** A killed gateway leaves what it was taking in, which is swept after a day: tomorrow's sweep is made today. */
async function strayBlobs(town: Town, jobs: ReadonlyMap<string, unknown>): Promise<string[]> {
  const tomorrow = new Date(Date.now() + 25 * 3600_000);
  const known = async (ids: string[]) => new Set(ids.filter((id) => jobs.has(id)));
  await new OrphanFiles(new DirectoryBlobStore(town.blobs)).sweep(known, tomorrow);
  return filesBelow(town.blobs).filter((file) => {
    const id = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(file)?.[0];
    return id === undefined || !jobs.has(id);
  });
}
