/** Bytes a second that one worker sends of all its logs, and how much it may save up. */
const RATE = 4 * 2 ** 20;
const MOST = 2 * 2 ** 20;
/** Nobody gets more than this part of what is left, so that a flood leaves something for a quiet command. */
const PART = 1 / 4;
/** A few lines are always sent. */
const LEAST = 1024;

/** How much of its logs a worker sends while commands run: they are for watching, the whole comes with the end. */
export class LiveBudget {
  private left = MOST;
  private at: number;

  /** @param now milliseconds of a clock that never goes back */
  constructor(private readonly now: () => number = () => performance.now()) {
    this.at = now();
  }

  /** @returns how many of the wanted bytes may be sent now */
  take(wanted: number): number {
    const now = this.now();
    this.left = Math.min(MOST, this.left + ((now - this.at) / 1000) * RATE);
    this.at = now;
    const granted = Math.min(wanted, Math.max(LEAST, Math.floor(this.left * PART)));
    this.left -= granted;
    return granted;
  }
}
