import { Inject, Injectable, Logger } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { createHash } from 'node:crypto';
import { newJobId } from '#shared/job/job-id.js';
import { jobSpec, type JobSpec } from '#shared/job/job-spec.js';
import type { Viewer } from '../auth/viewer.js';
import { Database } from '../database/database.js';
import { textFaults } from '../database/storable-text.js';
import { Aftermath } from '../dispatch/aftermath.js';
import { Batcher } from '../dispatch/batcher.js';
import { Claims } from '../dispatch/claims.js';
import { jobPrefix } from '../files/blob-keys.js';
import { BlobStore } from '../files/blob-store.js';
import { receiveSubmission, type StoredInput } from '../files/receive-files.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { Problem } from '../http/problem.js';
import { parse } from '../http/validate.js';
import { Metrics } from '../metrics/metrics.js';
import { Queues, type Queue } from '../queues/queues.js';
import { effectiveSpec } from './effective-spec.js';
import { Idempotency, type HeldKey } from './idempotency.js';
import { JobLifecycle, type NewJob } from './job-lifecycle.js';
import type { SubmittedRow, StoredInputFile } from './job-row.js';
import { toJobView, type JobView } from './job-view.js';

/** What a client sent, checked and stored, before it is a job. */
interface Received {
  readonly spec: JobSpec;
  readonly queue: Queue;
  readonly files: readonly StoredInput[];
  /** The job as it was sent. */
  readonly sent: unknown;
}

/** What a request with an Idempotency-Key holds while it is carried out. */
export interface Keyed {
  readonly held: HeldKey;
  /** Equal for equal requests only. */
  readonly hash: string;
}

export interface Accepted {
  readonly view: JobView;
  /** The answer of an earlier request with the same Idempotency-Key. */
  readonly replayed: boolean;
}

/** Rows of up to some megabytes each that one statement writes at most. */
const MOST_TOGETHER = 16;

/** Takes a submission from the request to the committed row; whatever fails leaves no file and no row. */
@Injectable()
export class Submissions {
  private readonly batcher = new Batcher<NewJob, SubmittedRow>((jobs) => this.write(jobs), MOST_TOGETHER);
  private readonly logger = new Logger(Submissions.name);

  constructor(
    private readonly database: Database,
    private readonly lifecycle: JobLifecycle,
    private readonly idempotency: Idempotency,
    private readonly queues: Queues,
    private readonly store: BlobStore,
    private readonly aftermath: Aftermath,
    private readonly claims: Claims,
    private readonly metrics: Metrics,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  /** @throws {Problem} whatever is wrong with it, naming the field */
  async accept(request: FastifyRequest, viewer: Viewer, idempotencyKey?: string): Promise<Accepted> {
    if (idempotencyKey === undefined) return this.submit(request, viewer);
    const begun = await this.idempotency.begin(viewer.owner, idempotencyKey);
    if ('held' in begun) {
      return this.submit(request, viewer, begun.held).finally(() => begun.held.letGo());
    }
    const id = newJobId();
    const received = await this.receive(request, id).finally(() => this.store.removeAll(jobPrefix(id)));
    return { view: begun.replay.reply(hashOf(received)), replayed: true };
  }

  private async submit(request: FastifyRequest, viewer: Viewer, held?: HeldKey): Promise<Accepted> {
    const id = newJobId();
    request.jobId = id;
    const received = await this.receive(request, id);
    try {
      const job = this.toNewJob(
        id,
        received,
        viewer.owner,
        request.headers.traceparent as string | undefined,
      );
      return await this.enter(job, received.queue, held && { held, hash: hashOf(received) });
    } catch (error) {
      if (received.files.length > 0) await this.removeUnlessCommitted(id);
      throw error;
    }
  }

  /**
   * Makes a row of a job whose files are stored.
   * @throws {Problem} 503 when the queue is full
   */
  async enter(job: NewJob, queue: Queue, keyed?: Keyed): Promise<Accepted> {
    await this.refuseWhenFull(queue);
    const moved = await this.commit(job, keyed);
    this.metrics.jobsSubmitted.inc({ queue: job.queue });
    return { view: viewOf(moved), replayed: false };
  }

  /**
   * A database that dies at a commit leaves open whether there is a job. Files of one that cannot be asked for are
   * left to the sweep of orphan files.
   */
  async removeUnlessCommitted(id: string): Promise<void> {
    try {
      if (await this.database.one('SELECT FROM jobs WHERE id = $1', [id])) return;
      await this.store.removeAll(jobPrefix(id));
    } catch (error) {
      this.logger.warn(`the files of a submission could not be removed: ${(error as Error).message}`, {
        jobId: id,
      });
    }
  }

  private async receive(request: FastifyRequest, jobId: string): Promise<Received> {
    let checked: { spec: JobSpec; queue: Queue } | undefined;
    const check = async (job: unknown) => (checked = await this.check(job));
    const beforeFiles = async (job: unknown) => {
      const { spec, queue } = await check(job);
      return {
        maxUpload: queue.settings.maxUpload ?? this.config.maxUpload,
        taken: (spec.inputs ?? []).map((input) => input.path),
      };
    };
    const { job, files } = request.isMultipart()
      ? await receiveSubmission(request, { store: this.store, jobId, beforeFiles })
      : { job: request.body, files: [] };
    const { spec, queue } = checked ?? (await check(job));
    return { spec, queue, files, sent: job };
  }

  private async check(job: unknown): Promise<{ spec: JobSpec; queue: Queue }> {
    const spec = parse(jobSpec, job, 'the job');
    const errors = [...textFaults(spec), ...this.callbackFaults(spec)];
    if (errors.length > 0) {
      const { path, message } = errors[0]!;
      throw new Problem(422, 'invalid_request', `The job is not valid: ${path}: ${message}.`, { errors });
    }
    return { spec, queue: await this.queues.get(spec.queue) };
  }

  /** Rather now than in a log of deliveries. */
  private callbackFaults({ callback }: JobSpec): { path: string; message: string }[] {
    if (!this.config.callbacks.httpsOnly || !callback || callback.url.startsWith('https:')) return [];
    return [
      { path: 'callback.url', message: 'this server calls back over https only; give an https address' },
    ];
  }

  private toNewJob(
    id: string,
    { spec, queue, files }: Received,
    owner: string,
    traceparent?: string,
  ): NewJob {
    const inputs = inputsOf(spec, files);
    const paths = files.flatMap((file) => file.entries?.map((entry) => entry.path) ?? [file.path]);
    const all = [...paths, ...(spec.inputs ?? []).map((input) => input.path)];
    return {
      id,
      owner,
      queue: spec.queue,
      name: spec.name,
      hold: spec.hold ?? false,
      delay: spec.delay ?? 0,
      ttl: spec.ttl ?? queue.settings.ttl,
      priority: spec.priority,
      spec: effectiveSpec(spec, queue.settings, new Set(all), {
        tries: this.config.losses,
        backoff: this.config.lossBackoff,
        backoffMax: this.config.lossBackoffMax,
      }),
      inputs,
      labels: spec.labels ?? {},
      callback: spec.callback ?? null,
      traceparent,
    };
  }

  private async refuseWhenFull({ name, settings: { maxQueued } }: Queue): Promise<void> {
    if (maxQueued === undefined) return;
    const row = await this.database.one<{ waiting: number }>(
      'SELECT coalesce(sum(waiting), 0)::integer AS waiting FROM lanes WHERE queue = $1',
      [name],
    );
    if (row!.waiting < maxQueued) return;
    throw new Problem(
      503,
      'queue_full',
      `The queue ${name} holds the ${maxQueued} waiting jobs that it may; submit again later.`,
      { headers: { 'retry-after': '10' } },
    );
  }

  private async commit(job: NewJob, keyed?: Keyed): Promise<SubmittedRow> {
    if (!keyed) return this.batcher.add(job);
    const moved = await this.database.transaction(async (statements) => {
      const moved = await this.lifecycle.submitWithin(statements, job);
      await keyed.held.complete(statements, keyed.hash, job.id, viewOf(moved));
      return moved;
    });
    await this.aftermath.of([moved]);
    return moved;
  }

  /** Together with claims that wait for such jobs, where there are any: what these take needs no tickets. */
  private async write(jobs: readonly NewJob[]): Promise<SubmittedRow[]> {
    const { told } = this.aftermath;
    const claims = this.claims.waitingFor(jobs);
    if (claims.length === 0) return this.lifecycle.submit(jobs, told);
    const { committed, ...onlyKept } = told;
    const [rows, taken] = await this.lifecycle.submitAndClaim(jobs, claims, this.config.lease, onlyKept);
    if (taken instanceof Error) this.logger.warn(`claims that waited were not answered: ${taken.message}`);
    else this.claims.give(claims, taken);
    const given = new Set(taken instanceof Error ? [] : taken.map((job) => job?.id));
    committed?.(rows.filter(({ id }) => !given.has(id)));
    return rows;
  }
}

function inputsOf(spec: JobSpec, files: readonly StoredInput[]): StoredInputFile[] {
  const inline = (spec.inputs ?? []).map(({ path, content, executable }) => ({
    path,
    content,
    size: Buffer.byteLength(content),
    ...(executable === undefined ? {} : { executable }),
  }));
  const stored = files.map(({ path, size, sha256, archive }, index) => ({
    path,
    size,
    sha256,
    index,
    ...(archive ? { archive } : {}),
  }));
  return [...inline, ...stored];
}

function viewOf(moved: SubmittedRow): JobView {
  return toJobView({ ...moved, last: null });
}

/** Of the job as sent and of every file. */
function hashOf({ sent, files }: Received): string {
  const parts = [sent, ...files.map(({ path, sha256, archive }) => [path, sha256, archive ?? null])];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
