/** What callbacks tell of a job; the jobs feature knows it. */
export abstract class JobViews {
  /** The job as the API shows it to its owner; undefined when there is no such job any more. */
  abstract view(jobId: string): Promise<object | undefined>;
}
