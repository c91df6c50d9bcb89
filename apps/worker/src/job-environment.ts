import type { ClaimedJob } from '#shared/messages/messages.js';
import type { Workspace } from './workspace.js';

/** The whole environment of a command: a little of the worker's own, what LABHAND_ promises, and the job's. */
export function jobEnvironment(
  job: Pick<ClaimedJob, 'jobId' | 'attempt' | 'queue' | 'env'>,
  workspace: Workspace,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  return {
    ...own,
    HOME: workspace.home,
    TMPDIR: workspace.home,
    ...job.env,
    LABHAND_JOB_ID: job.jobId,
    LABHAND_ATTEMPT: String(job.attempt),
    LABHAND_QUEUE: job.queue,
    LABHAND_INPUT: workspace.directory,
    LABHAND_OUTPUT: workspace.directory,
    LABHAND_PROGRESS: workspace.progress,
  };
}
