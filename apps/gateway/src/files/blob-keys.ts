/** Every key in the blob store. All of one job lies below one prefix, so that it can be removed at once. */

export const JOBS_PREFIX = 'jobs/';

export const ATTEMPT_FILES = ['outputs.zip', 'outputs.json', 'stdout', 'stderr'] as const;
/** What a worker stores of an attempt: output archive, its listing, and streams too large for a report. */
export type AttemptFile = (typeof ATTEMPT_FILES)[number];

export function jobPrefix(jobId: string): string {
  return `${JOBS_PREFIX}${jobId}/`;
}

/** `index` counts the job's stored inputs from 0. */
export function inputKey(jobId: string, index: number): string {
  return `${jobPrefix(jobId)}inputs/${index}`;
}

export function attemptKey(jobId: string, attempt: number, file: AttemptFile): string {
  return `${jobPrefix(jobId)}${attempt}/${file}`;
}

/** What a worker sends of a running job's file, until the client has it. */
export function partialKey(jobId: string, transfer: string): string {
  return `${jobPrefix(jobId)}partial/${transfer}`;
}

/** Whether a key is of a transfer. */
export function isPartialKey(key: string): boolean {
  return /^jobs\/[^/]+\/partial\//.test(key);
}

/** The job that a key belongs to. */
export function jobOfKey(key: string): string | undefined {
  return /^jobs\/([^/]+)\/./.exec(key)?.[1];
}
