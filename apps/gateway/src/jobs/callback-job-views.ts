import { Injectable } from '@nestjs/common';
import { JobViews } from '../callbacks/job-views.js';
import { JobQueries } from './job-queries.js';
import { toJobView } from './job-view.js';

/** Callbacks tell of a job what its owner would read. */
@Injectable()
export class CallbackJobViews extends JobViews {
  constructor(private readonly queries: JobQueries) {
    super();
  }

  async view(jobId: string): Promise<object | undefined> {
    const job = await this.queries.find(jobId);
    return job && toJobView(job);
  }
}
