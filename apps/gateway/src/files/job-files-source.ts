import type { Viewer } from '../auth/viewer.js';

/** An attempt that has output files, or runs and may have some. */
export interface OutputsAttempt {
  readonly attempt: number;
  /** While it runs: the worker that has its files. */
  readonly runsOn?: string;
}

/** Tells which attempt's outputs are a job's, to those who may see it. */
export abstract class JobFilesSource {
  /**
   * The latest attempt, or the one with this number, if it has output files or runs; undefined when there is none.
   * @throws {Problem} 404 for jobs that do not exist, or not for this viewer
   */
  abstract outputsOf(jobId: string, viewer: Viewer, attempt?: number): Promise<OutputsAttempt | undefined>;
}
