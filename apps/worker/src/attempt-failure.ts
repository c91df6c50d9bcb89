import type { FailReason } from '#shared/job/job-state.js';

/** A step of an attempt failed in a way that is an outcome of the job, told in a whole sentence. */
export class AttemptFailure extends Error {
  constructor(
    readonly reason: FailReason,
    message: string,
    cause?: unknown,
    /** It lies around the job, which may go better elsewhere or later: a transfer that failed, a disk that is full. */
    readonly infrastructure = isFaultOfTheHost(cause),
  ) {
    super(message, { cause });
  }
}

const HOST_ERRORS = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'];

/** Whether the machine could not do what it does at other times. */
export function isFaultOfTheHost(error: unknown): boolean {
  for (let it = error as NodeJS.ErrnoException | undefined; it; it = it.cause as typeof it) {
    if (it.code !== undefined && HOST_ERRORS.includes(it.code)) return true;
  }
  return false;
}

/** The rest of a sentence after a colon, with its full stop and the system's error name where there is one. */
export function because(error: unknown): string {
  const { message, code, cause } = error as NodeJS.ErrnoException & { cause?: { code?: string } };
  const name = code ?? cause?.code;
  const told = message.replace(/\.$/, '');
  return name === undefined || told.includes(name) ? `${told}.` : `${told} (${name}).`;
}
