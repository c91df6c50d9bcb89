import type { TryResult } from './callback-sender.js';

/** What becomes of a delivery after a try. */
export type Verdict =
  | { readonly state: 'delivered' }
  | { readonly state: 'failed' }
  | { readonly state: 'due'; readonly delaySeconds: number };

/** A receiver may ask for patience, not for oblivion. */
const MAX_RETRY_AFTER_SECONDS = 86_400;
/** Tries that failed together do not come back together: up to this share is added to each delay. */
const JITTER = 0.2;

/**
 * @param tries how many tries have been made, this one included
 * @param delays seconds before the second, third ... try
 * @param random 0 to 1
 */
export function verdict(
  result: TryResult,
  tries: number,
  delays: readonly number[],
  random = Math.random(),
): Verdict {
  if (result.outcome === 'delivered') return { state: 'delivered' };
  const delay = delays[tries - 1];
  if (result.outcome === 'gone' || delay === undefined) return { state: 'failed' };
  const asked = Math.min(result.retryAfterSeconds ?? 0, MAX_RETRY_AFTER_SECONDS);
  return { state: 'due', delaySeconds: Math.max(delay * (1 + JITTER * random), asked) };
}

/**
 * Seconds of a Retry-After header, which is a number of them or a date; undefined when it is neither.
 * @param now milliseconds since 1970
 */
export function retryAfterSeconds(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, (date - now) / 1000);
}
