import { Injectable } from '@nestjs/common';
import { z } from 'zod';
import { JOB_STATES, type JobState } from '#shared/job/job-state.js';
import { seesAll, type Viewer } from '../auth/viewer.js';
import { Database } from '../database/database.js';
import { Problem } from '../http/problem.js';
import { WaitingReasons } from './waiting-for.js';
import { toJobView, type JobView, type JobWithAttempts } from './job-view.js';

const commaSeparated = (text: string) => text.split(',').filter((part) => part !== '');

export const jobFilter = z.strictObject({
  queue: z.string().optional(),
  state: z
    .string()
    .transform(commaSeparated)
    .pipe(z.array(z.enum(JOB_STATES)))
    .optional()
    .describe('One or more states, separated by commas'),
  owner: z.string().optional(),
  name: z.string().optional(),
  label: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe('key or key=value; may be given several times'),
  createdAfter: z.iso.datetime({ offset: true }).optional(),
  createdBefore: z.iso.datetime({ offset: true }).optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.uuid().optional().describe('`next` of the page before'),
});
export type JobFilter = z.output<typeof jobFilter>;

/** All of the latest attempt but its logs, which would make a page of jobs megabytes. */
const LAST_ATTEMPT = `
  LEFT JOIN LATERAL (
    SELECT to_jsonb(a) - 'stdout' - 'stderr' AS row FROM attempts a WHERE a.job_id = j.id AND a.attempt = j.attempt
  ) last ON true`;

const ONE = `
  SELECT j.*, to_jsonb(a) AS last FROM jobs j
  LEFT JOIN attempts a ON a.job_id = j.id AND a.attempt = j.attempt
  WHERE j.id = $1 AND ($2::text IS NULL OR j.owner = $2)`;

const STATE = 'SELECT state FROM jobs WHERE id = $1 AND ($2::text IS NULL OR owner = $2)';

const ATTEMPTS = `SELECT to_jsonb(a) - 'stdout' - 'stderr' AS row FROM attempts a WHERE job_id = $1 ORDER BY attempt`;

/** Reads jobs for those who may see them: somebody else's job is not there. */
@Injectable()
export class JobQueries {
  constructor(
    private readonly database: Database,
    private readonly reasons: WaitingReasons,
  ) {}

  /** Of anybody's, for the gateway's own use. */
  async find(id: string, owner: string | null = null): Promise<JobWithAttempts | undefined> {
    return (await this.database.prepared<JobWithAttempts>('job', ONE, [id, owner]))[0];
  }

  /** @throws {Problem} 404 `not_found` */
  async row(id: string, viewer: Viewer): Promise<JobWithAttempts> {
    const row = isId(id) ? await this.find(id, ownerSeenBy(viewer)) : undefined;
    return row ?? notFound(id);
  }

  /** @throws {Problem} 404 `not_found` */
  async state(id: string, viewer: Viewer): Promise<JobState> {
    const values = [id, ownerSeenBy(viewer)];
    const rows = isId(id) ? await this.database.prepared<{ state: JobState }>('state', STATE, values) : [];
    return rows[0]?.state ?? notFound(id);
  }

  /** The job with its latest attempt. @throws {Problem} 404 `not_found` */
  async view(id: string, viewer: Viewer): Promise<JobView> {
    return toJobView(await this.row(id, viewer));
  }

  /** The job with every attempt, and why it waits if it does. */
  async fullView(job: JobWithAttempts): Promise<JobView> {
    const attempts = await this.database.query<{ row: JobWithAttempts['last'] }>(ATTEMPTS, [job.id]);
    return toJobView({
      ...job,
      attempts: attempts.flatMap(({ row }) => (row ? [row] : [])),
      waitingFor: await this.reasons.of(job),
    });
  }

  /** Whether an attempt has left output files. */
  async hasOutputs(id: string, attempt: number): Promise<boolean> {
    const found = await this.database.one(
      'SELECT FROM attempts WHERE job_id = $1 AND attempt = $2 AND outputs IS NOT NULL',
      [id, attempt],
    );
    return found !== undefined;
  }

  /** Newest first. @returns a page, and where the next one begins if there is one */
  async list(filter: JobFilter, viewer: Viewer): Promise<{ jobs: JobView[]; next?: string }> {
    const values: unknown[] = [];
    const value = (it: unknown) => `$${values.push(it)}`;
    const labels = Object.entries(labelsOf(filter.label));
    const owner = ownerSeenBy(viewer);
    const conditions = [
      owner !== null && `j.owner = ${value(owner)}`,
      filter.owner !== undefined && `j.owner = ${value(filter.owner)}`,
      filter.queue !== undefined && `j.queue = ${value(filter.queue)}`,
      filter.state !== undefined && `j.state = ANY (${value(filter.state)})`,
      filter.name !== undefined && `j.name = ${value(filter.name)}`,
      filter.createdAfter !== undefined && `j.created_at > ${value(filter.createdAfter)}`,
      filter.createdBefore !== undefined && `j.created_at < ${value(filter.createdBefore)}`,
      filter.cursor !== undefined && `j.id < ${value(filter.cursor)}`,
      ...labels.map(([key, wanted]) =>
        wanted === undefined
          ? `j.labels ? ${value(key)}`
          : `j.labels @> ${value(JSON.stringify({ [key]: wanted }))}`,
      ),
    ].filter((condition) => condition !== false);
    const rows = await this.database.query<JobWithAttempts>(
      `SELECT j.*, last.row AS last FROM jobs j ${LAST_ATTEMPT}
       WHERE ${conditions.join(' AND ') || 'true'} ORDER BY j.id DESC LIMIT ${filter.limit + 1}`,
      values,
    );
    const page = rows.slice(0, filter.limit);
    return {
      jobs: page.map(toJobView),
      ...(rows.length > page.length ? { next: page.at(-1)!.id } : {}),
    };
  }
}

/** Whose jobs the viewer sees; null for everybody's. */
function ownerSeenBy(viewer: Viewer): string | null {
  return seesAll(viewer) ? null : viewer.owner;
}

function labelsOf(label: JobFilter['label']): Record<string, string | undefined> {
  return Object.fromEntries(
    [label ?? []].flat().map((text) => {
      const equals = text.indexOf('=');
      return equals < 0 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}

const isId = (id: string) => z.uuid().safeParse(id).success;

function notFound(id: string): never {
  throw new Problem(
    404,
    'not_found',
    `There is no job ${JSON.stringify(id)} that this key may see; check the id, or list the jobs at /v1/jobs.`,
  );
}
