import type { Figure } from './figures.js';
import type { House } from './house.js';

export interface Scale {
  /** Rounds come first to see that all runs: a tenth of everything. */
  readonly quick: boolean;
}

/** One file of the bench: measures once around and leaves the house as it was. */
export interface Part {
  /** What is made once, before the first round, because it takes long. */
  prepare?(house: House, scale: Scale): Promise<void>;
  measure(house: House, scale: Scale): Promise<Figure[]>;
  /** Sentences that stand above the table: of what was compared with, or why something is not there. */
  notes?(): readonly string[];
}

/** A number of repetitions, less of them in a quick run. */
export function times(count: number, { quick }: Scale): number {
  return quick ? Math.ceil(count / 10) : count;
}

/** Runs `work` that often, so many at once; seconds that all took. */
export async function timed(
  count: number,
  atOnce: number,
  work: (nth: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const line = async () => {
    while (next < count) await work(next++);
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: atOnce }, line));
  return (performance.now() - began) / 1000;
}
