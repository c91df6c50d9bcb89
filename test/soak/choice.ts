import { randomFrom } from '../support/random.js';

/** Choices that a seed repeats. */
export class Choice {
  private readonly random: () => number;

  constructor(seed: number) {
    this.random = randomFrom(seed);
  }

  of<T>(many: readonly T[]): T {
    return many[Math.floor(this.random() * many.length)]!;
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.random() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }
}
