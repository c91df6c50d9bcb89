/** Milliseconds that a short command runs at most. */
const SHORT_MS = 25;
/** After so many in a row the next one is expected to be short too. */
const IN_A_ROW = 4;
/** Milliseconds that a job waits for its turn at most: far longer than a few short commands take. */
const PATIENCE_MS = 250;

/** A job had no turn while there was patience: the commands before it were not as short as expected. */
export class NoTurnError extends Error {
  constructor() {
    super('no turn came');
  }
}

/** The turns of a slot's jobs, in the order in which they are asked for: one command runs at a time. */
export class Turns {
  private taken = false;
  private begun = 0;
  private shortOnes = 0;
  private readonly waiting: ((error?: Error) => void)[] = [];

  /** @param mayBegin whether a job that had to wait may still begin */
  constructor(private readonly mayBegin: () => boolean = () => true) {}

  /** Whether further jobs in hand would soon have their turns. */
  get areShort(): boolean {
    return this.shortOnes >= IN_A_ROW;
  }

  /**
   * Resolves with the turn; wants `over` then.
   * @throws {NoTurnError}
   * @throws the signal's reason when it is aborted first
   */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.taken) await this.turn(signal);
    this.taken = true;
    this.begun = performance.now();
  }

  over(): void {
    this.shortOnes = performance.now() - this.begun <= SHORT_MS ? this.shortOnes + 1 : 0;
    this.taken = false;
    while (!this.taken && this.waiting.length > 0) {
      this.taken = this.mayBegin();
      this.waiting[0]!(this.taken ? undefined : new NoTurnError());
    }
  }

  private turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
        this.waiting.splice(this.waiting.indexOf(settle), 1);
        if (error === undefined) resolve();
        else reject(error);
      };
      const abort = () => settle(signal.reason as Error);
      const timer = setTimeout(() => {
        this.shortOnes = 0;
        settle(new NoTurnError());
      }, PATIENCE_MS);
      signal.addEventListener('abort', abort);
      this.waiting.push(settle);
    });
  }
}
