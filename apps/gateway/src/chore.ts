import { Logger } from '@nestjs/common';

/**
 * Work that comes back: a round now, a round after each nudge, and one when the pause is over.
 *
 * Rounds never overlap. A nudge during a round is answered by one further round, however many nudges there were,
 * so what was committed before a nudge is always seen by a round that began after it. A round that throws is
 * logged and the next one comes as usual.
 */
export class Chore {
  private readonly logger: Logger;
  private started = false;
  private nudged = false;
  private timer?: NodeJS.Timeout;
  private rounds?: Promise<void>;

  /**
   * @param pauseMs milliseconds between rounds at most
   * @param work one round; may answer how many milliseconds from now it would like the next one, if sooner
   */
  constructor(
    private readonly name: string,
    private readonly pauseMs: number,
    private readonly work: () => Promise<number | void>,
  ) {
    this.logger = new Logger(name);
  }

  start(): void {
    this.started = true;
    this.nudge();
  }

  /** There is something to do: a round begins at once, or right after the one that is under way. */
  nudge(): void {
    this.nudged = true;
    if (!this.started || this.rounds) return;
    clearTimeout(this.timer);
    this.rounds = this.runRounds();
  }

  /** No further round begins; resolves when the one under way is over. */
  async stop(): Promise<void> {
    this.started = false;
    clearTimeout(this.timer);
    await this.rounds;
  }

  private async runRounds(): Promise<void> {
    let pause = this.pauseMs;
    while (this.started && this.nudged) {
      this.nudged = false;
      pause = await this.round();
    }
    this.rounds = undefined;
    if (this.started) this.timer = setTimeout(() => this.nudge(), pause);
  }

  private async round(): Promise<number> {
    try {
      const wish = (await this.work()) ?? this.pauseMs;
      return Math.min(Math.max(wish, 0), this.pauseMs);
    } catch (error) {
      this.logger.error(
        `a round of ${this.name} failed; the next one comes as usual`,
        (error as Error).stack,
      );
      return this.pauseMs;
    }
  }
}
