import { setTimeout as pause } from 'node:timers/promises';

export interface Patience {
  /** Its abort ends the repeating; what was under way is left alone. */
  readonly signal?: AbortSignal;
  /** Whether another try may go better. By default every failure is worth one. */
  readonly mayPass?: (error: unknown) => boolean;
  /** Milliseconds after which no new try is made; by default tries go on for ever. */
  readonly limitMs?: number;
  /** Between two tries, besides the pause. */
  readonly before?: (error: unknown) => Promise<void>;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Repeats `action` until it succeeds, with growing pauses that are spread so that many who failed together
 * do not come back together.
 * @throws the last failure when it may not pass or the time is up; the signal's reason when aborted
 */
export async function retrying<T>(action: () => Promise<T>, patience: Patience = {}): Promise<T> {
  const { signal, mayPass = () => true, limitMs = Infinity, before } = patience;
  const started = Date.now();
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    signal?.throwIfAborted();
    try {
      return await abortable(action(), signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!mayPass(error) || Date.now() - started > limitMs) throw error;
      await patiently(pauseMs * (0.5 + Math.random() / 2), signal);
      if (before) await abortable(before(error), signal);
    }
  }
}

/** `promise`, or the signal's reason as soon as it is aborted. */
export async function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  signal.throwIfAborted();
  let abort = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function patiently(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await pause(ms, undefined, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
