import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { isFinal } from '#shared/job/job-state.js';
import type { Viewer } from '../auth/viewer.js';
import { JobEvents } from '../events/job-events.js';
import { JobQueries } from './job-queries.js';

/** An event of another gateway may get lost; the database is asked this often all the same. */
const LOOK_AGAIN_MS = 5000;

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
   * Resolves once the job is final, or when the time is up.
   * @param seconds how long at most
   * @param gone fires when the client has gone
   * @throws {Problem} 404 `not_found`
   */
  async final(id: string, viewer: Viewer, seconds: number, gone: AbortSignal): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const slice = Math.min(deadline - Date.now(), LOOK_AGAIN_MS);
      const stop = AbortSignal.any([this.closing.signal, gone, AbortSignal.timeout(Math.max(slice, 0))]);
      // Listens before it looks, so that an end in between is not missed.
      const news = this.events.end(id, stop);
      const over = isFinal(await this.queries.state(id, viewer));
      if (over || slice <= 0 || this.closing.signal.aborted || gone.aborted) return;
      if ((await news) === 'ended') return;
    }
  }
}
