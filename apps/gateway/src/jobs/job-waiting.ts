import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { isFinal } from '#shared/job/job-state.js';
import type { Viewer } from '../auth/viewer.js';
import { JobEvents } from '../events/job-events.js';
import { JobQueries } from './job-queries.js';
import type { JobWithAttempts } from './job-view.js';

/** An event of another gateway may get lost; the database is asked this often all the same. */
const LOOK_AGAIN_MS = 5000;
/** A short job ends sooner: one that was just submitted is not looked at before. */
const SOON_MS = 50;

/** Keeps a client waiting for its job's end. */
@Injectable()
export class JobWaiting implements OnModuleDestroy {
  private readonly closing = new AbortController();

  constructor(
    private readonly queries: JobQueries,
    private readonly events: JobEvents,
  ) {}

  /** Whoever waits is answered with what there is. */
  onModuleDestroy(): void {
    this.closing.abort();
  }

  /**
   * Resolves with the job once it is final, or as it is when the time is up.
   * @param seconds how long at most
   * @param gone fires when the client has gone
   * @param justSubmitted here: it has hardly had the time to end
   * @throws {Problem} 404 `not_found`
   */
  async final(
    id: string,
    viewer: Viewer,
    seconds: number,
    gone: AbortSignal,
    justSubmitted = false,
  ): Promise<JobWithAttempts> {
    const deadline = Date.now() + seconds * 1000;
    for (let isNew = justSubmitted; ; isNew = false) {
      const slice = Math.min(deadline - Date.now(), isNew ? SOON_MS : LOOK_AGAIN_MS);
      const stop = AbortSignal.any([this.closing.signal, gone, AbortSignal.timeout(Math.max(slice, 0))]);
      // Listens before it looks, so that an end in between is not missed.
      const news = this.events.end(id, stop);
      if (!isNew && isFinal(await this.queries.state(id, viewer))) break;
      if (slice <= 0 || this.closing.signal.aborted || gone.aborted) break;
      const ended = await news;
      if (ended) return ended.job ?? this.queries.row(id, viewer);
    }
    return this.queries.row(id, viewer);
  }
}
