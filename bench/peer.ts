import type { House } from './house.js';

/** How much a peer has to do, each the work of one job: `/bin/true` with its output captured. */
export interface Work {
  /** Before the clock starts. */
  readonly warmUp: number;
  readonly jobs: number;
  /** One after the other, each submitted when the one before is known to be over. */
  readonly single: number;
  /** Of the worker. */
  readonly slots: number;
}

export interface Worked {
  /** From the first submission of `jobs` to the last known end. */
  readonly seconds: number;
  /** Milliseconds of each single one, from before its submission until its end is known. */
  readonly latencies: readonly number[];
}

/** Another system that can do the same work. */
export interface Peer {
  readonly name: string;
  /**
   * Fetches it, without root and once.
   * @returns its versions and the settings that its durability comes from
   * @throws {Error} it cannot be had
   */
  install(house: House): Promise<string>;
  /** @throws {Error} it does not do its work */
  work(house: House, work: Work): Promise<Worked>;
}
