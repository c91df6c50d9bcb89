import type { ClaimedJob } from '#shared/messages/messages.js';
import { jobEnvironment } from './job-environment.js';
import type { LaunchOrder } from './launcher.js';
import type { RunTools } from './run.js';
import type { SpoolFiles } from './spool.js';
import type { Workspace } from './workspace.js';

/**
 * What the launcher is told of a job.
 * @param id of the attempt
 */
export function launchOrder(
  job: ClaimedJob,
  id: string,
  workspace: Workspace,
  spool: SpoolFiles,
  { ownEnvironment, closedFolders }: Pick<RunTools, 'ownEnvironment' | 'closedFolders'>,
): LaunchOrder {
  // Output is followed and cut by the worker.
  const { output: _output, ...limits } = job.limits;
  return {
    ...limits,
    id,
    isolation: job.isolation,
    command: job.command,
    env: jobEnvironment(job, workspace, ownEnvironment),
    directory: workspace.directory,
    stdout: spool.stdout,
    stderr: spool.stderr,
    writable: [workspace.root],
    hidden: closedFolders,
    uid: workspace.user,
  };
}
