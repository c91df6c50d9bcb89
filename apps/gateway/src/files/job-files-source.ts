import type { Viewer } from '../auth/viewer.js';

/** Tells which attempt's outputs are a job's, to those who may see it. */
export abstract class JobFilesSource {
  /**
   * The latest attempt that has output files; undefined when there is none.
   * @throws {Problem} 404 for jobs that do not exist, or not for this viewer
   */
  abstract outputsOf(jobId: string, viewer: Viewer): Promise<{ attempt: number } | undefined>;
}
