import { VERSION } from '#shared/version.js';

/**
 * When a try is repeated, in seconds after the one before: the schedule that Standard Webhooks recommends. The
 * first try leaves at once; with the last delay used up the delivery has failed.
 */
export const RETRY_DELAYS = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;

/** How callbacks are sent; the configuration overrides what an operator may change. */
export class CallbackSettings {
  /** CIDRs that callbacks may reach although they are not public, such as `127.0.0.0/8`. */
  readonly allowedNetworks: readonly string[] = [];
  readonly requireHttps: boolean = false;
  /** Names the sender to receivers. */
  readonly userAgent: string = `labhand/${VERSION}`;
  /** Milliseconds from connecting to the end of the answer. */
  readonly timeoutMs: number = 15_000;
  readonly retryDelays: readonly number[] = RETRY_DELAYS;
  /** Tries under way at once in one gateway, in all and to one host. */
  readonly parallel: number = 16;
  readonly parallelPerHost: number = 4;
  /** Milliseconds that a try belongs to the gateway that began it; another may begin it anew after that. */
  readonly holdMs: number = 60_000;
  /** Milliseconds between looks for what has become due without a nudge. */
  readonly pauseMs: number = 5_000;
  /** Milliseconds that a stopping gateway waits for answers before it hands the tries back. */
  readonly stopGraceMs: number = 5_000;

  /** @param given what differs from the defaults; undefined does not */
  constructor(given: Partial<CallbackSettings> = {}) {
    Object.assign(this, Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)));
    if (this.holdMs <= this.timeoutMs) {
      throw new Error(
        `callbacks: holdMs (${this.holdMs}) has to be longer than timeoutMs (${this.timeoutMs}), or a try would be made twice at once`,
      );
    }
  }
}
