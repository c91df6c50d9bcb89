import { Injectable, Logger } from '@nestjs/common';
import { isPartialKey, jobOfKey, jobPrefix, JOBS_PREFIX } from './blob-keys.js';
import { BlobStore } from './blob-store.js';

/** An upload takes a while before its job has a row; longer than this means that it was never finished. */
const MIN_AGE_MS = 24 * 3600 * 1000;
const JOBS_AT_ONCE = 500;
/** What else may lie there was not put there by a gateway, and is not for it to remove. */
const JOB_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Removes files of jobs that do not exist: a gateway died during an upload, or the row was deleted. */
@Injectable()
export class OrphanFiles {
  private readonly logger = new Logger('OrphanFiles');

  constructor(private readonly store: BlobStore) {}

  /**
   * One round over the whole blob store.
   * @param knownJobs which of the ids are jobs
   */
  async sweep(knownJobs: (ids: string[]) => Promise<Set<string>>, now = new Date()): Promise<void> {
    const before = new Date(now.getTime() - MIN_AGE_MS);
    await this.store.removeUnfinished(before);
    let ids: string[] = [];
    for await (const id of this.jobsOlderThan(before)) {
      ids.push(id);
      if (ids.length < JOBS_AT_ONCE) continue;
      await this.removeUnknown(ids, knownJobs);
      ids = [];
    }
    if (ids.length > 0) await this.removeUnknown(ids, knownJobs);
  }

  /** Jobs whose newest file is old; the store lists the files of one job together. */
  private async *jobsOlderThan(before: Date): AsyncIterable<string> {
    let job: { id: string; old: boolean } | undefined;
    for await (const { key, modifiedAt } of this.store.list(JOBS_PREFIX)) {
      // Its client has gone, and with it the gateway that would have removed it.
      if (isPartialKey(key) && modifiedAt < before) await this.store.remove(key);
      const id = jobOfKey(key);
      if (id === undefined || !JOB_ID.test(id)) continue;
      if (job && job.id !== id && job.old) yield job.id;
      const old = modifiedAt < before && (job?.id !== id || job.old);
      job = { id, old };
    }
    if (job?.old) yield job.id;
  }

  private async removeUnknown(
    ids: string[],
    knownJobs: (ids: string[]) => Promise<Set<string>>,
  ): Promise<void> {
    const known = await knownJobs(ids);
    for (const id of ids) {
      if (known.has(id)) continue;
      await this.store.removeAll(jobPrefix(id));
      this.logger.log(`removed the files of ${id}, which is no job`);
    }
  }
}
