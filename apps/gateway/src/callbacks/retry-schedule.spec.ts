import { RETRY_DELAYS } from './callback-settings.js';
import { retryAfterSeconds, verdict } from './retry-schedule.js';

const failed = { outcome: 'failed', error: 'the receiver answered 500' } as const;

describe('the schedule of tries', () => {
  it('is the one of Standard Webhooks: ten tries over some three days', () => {
    const waits = [...RETRY_DELAYS.keys()].map((index) => verdict(failed, index + 1, RETRY_DELAYS, 0));
    expect(waits.map((wait) => wait.state === 'due' && wait.delaySeconds / 60)).toEqual([
      5 / 60,
      5,
      30,
      2 * 60,
      5 * 60,
      10 * 60,
      14 * 60,
      20 * 60,
      24 * 60,
    ]);
    expect(verdict(failed, 10, RETRY_DELAYS)).toEqual({ state: 'failed' });
  });

  it('spreads tries that failed together', () => {
    expect(verdict(failed, 1, [100], 0)).toEqual({ state: 'due', delaySeconds: 100 });
    expect(verdict(failed, 1, [100], 1)).toEqual({ state: 'due', delaySeconds: 120 });
  });

  it('ends with an answer of success and with 410', () => {
    expect(verdict({ outcome: 'delivered', status: 204 }, 1, [5])).toEqual({ state: 'delivered' });
    expect(verdict({ outcome: 'gone', status: 410, error: 'gone' }, 1, [5])).toEqual({ state: 'failed' });
  });

  it('waits as long as the receiver asks, a day at most, and never less than planned', () => {
    const asked = (retryAfter: number) =>
      verdict({ ...failed, status: 429, retryAfterSeconds: retryAfter }, 1, [100], 0);
    expect(asked(3600)).toEqual({ state: 'due', delaySeconds: 3600 });
    expect(asked(1)).toEqual({ state: 'due', delaySeconds: 100 });
    expect(asked(1e9)).toEqual({ state: 'due', delaySeconds: 86_400 });
  });

  it('reads both forms of Retry-After', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(retryAfterSeconds('120', now)).toBe(120);
    expect(retryAfterSeconds('Thu, 01 Jan 2026 00:01:00 GMT', now)).toBe(60);
    expect(retryAfterSeconds('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0);
    expect(retryAfterSeconds('soon', now)).toBeUndefined();
    expect(retryAfterSeconds(undefined, now)).toBeUndefined();
  });
});
