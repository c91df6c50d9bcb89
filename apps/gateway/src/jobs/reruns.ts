import { Injectable } from '@nestjs/common';
import { newJobId } from '#shared/job/job-id.js';
import { isFinal } from '#shared/job/job-state.js';
import type { Viewer } from '../auth/viewer.js';
import { inputKey } from '../files/blob-keys.js';
import { BlobNotFoundError, BlobStore } from '../files/blob-store.js';
import { Problem } from '../http/problem.js';
import { Queues } from '../queues/queues.js';
import { Idempotency } from './idempotency.js';
import type { NewJob } from './job-lifecycle.js';
import { JobQueries } from './job-queries.js';
import type { JobRow } from './job-row.js';
import { Submissions, type Accepted, type Keyed } from './submissions.js';

/** Submits a job that has ended once more: as it was understood then, with copies of its input files. */
@Injectable()
export class Reruns {
  constructor(
    private readonly queries: JobQueries,
    private readonly idempotency: Idempotency,
    private readonly queues: Queues,
    private readonly store: BlobStore,
    private readonly submissions: Submissions,
  ) {}

  /** @throws {Problem} 404; 409 while it has not ended; 410 when its input files are gone; 503 when the queue is full */
  async accept(id: string, viewer: Viewer, idempotencyKey?: string): Promise<Accepted> {
    const job = await this.queries.row(id, viewer);
    if (!isFinal(job.state)) {
      throw new Problem(
        409,
        'state_conflict',
        `The job is ${job.state}; it can be run again once it has ended. Submit another one, or cancel this one first.`,
      );
    }
    if (idempotencyKey === undefined) return this.submit(job);
    const hash = `rerun of ${id}`;
    const begun = await this.idempotency.begin(viewer.owner, idempotencyKey);
    if (!('held' in begun)) return { view: begun.replay.reply(hash), replayed: true };
    return this.submit(job, { held: begun.held, hash }).finally(() => begun.held.letGo());
  }

  private async submit(job: JobRow, keyed?: Keyed): Promise<Accepted> {
    const id = newJobId();
    const queue = await this.queues.get(job.queue);
    try {
      await this.copyInputs(job, id);
      return await this.submissions.enter(again(job, id), queue, keyed);
    } catch (error) {
      await this.submissions.removeUnlessCommitted(id);
      throw error;
    }
  }

  /** Copies, so that neither job's files depend on how long the other one is kept. */
  private async copyInputs(job: JobRow, id: string): Promise<void> {
    for (const { index, path, size } of job.inputs) {
      if (index === undefined) continue;
      try {
        const content = await this.store.read(inputKey(job.id, index));
        await this.store.write(inputKey(id, index), content, { size });
      } catch (error) {
        if (!(error instanceof BlobNotFoundError)) throw error;
        throw new Problem(
          410,
          'gone',
          `The input file ${JSON.stringify(path)} of the job is not kept any more; submit it again with its files.`,
          { cause: error },
        );
      }
    }
  }
}

/** Without the delay and the hold of the first time: whoever asks for it wants it now. */
function again(job: JobRow, id: string): NewJob {
  return {
    id,
    queue: job.queue,
    owner: job.owner,
    name: job.name ?? undefined,
    hold: false,
    delay: 0,
    ttl: job.expires_at ? (job.expires_at.getTime() - job.created_at.getTime()) / 1000 : undefined,
    priority: job.priority,
    spec: job.spec,
    inputs: job.inputs,
    labels: job.labels,
    callback: job.callback,
    rerunOf: job.id,
    traceparent: undefined,
  };
}
