import { crowd } from './crowd.js';
import type { Part } from './part.js';
import { startAfterClaim } from './start-after-claim.js';
import { workerSize } from './worker-size.js';

/** What a worker costs and does, beyond how many jobs it gets done. */
export const worker: Part = {
  async measure(house, scale) {
    return [
      ...(await workerSize(house, scale)),
      ...(await crowd(house, scale)),
      ...(await startAfterClaim(house, scale)),
    ];
  },
};
