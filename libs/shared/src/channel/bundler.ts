/** What was asked, and who waits for the answer. */
interface Asked<Body, Reply> {
  readonly body: Body;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
}

/** Milliseconds after which nobody waits any longer for an answer that is under way: it may never come. */
const PATIENCE_MS = 20;
const MOST_TOGETHER = 32;

/**
 * Sends together what is asked together: while one bundle is under way the next one gathers. What is asked alone
 * goes alone, and at once.
 */
export class Bundler<Body, Reply> {
  private waiting: Asked<Body, Reply>[] = [];
  private underWay = 0;
  private due?: NodeJS.Immediate | NodeJS.Timeout;

  /** @param send answers a bundle, in its order */
  constructor(private readonly send: (bodies: Body[]) => Promise<Reply[]>) {}

  ask(body: Body): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ body, resolve, reject });
      // Not at once: what happens in the same turn of the event loop comes along.
      this.due ??=
        this.underWay === 0
          ? setImmediate(() => this.depart())
          : setTimeout(() => this.depart(), PATIENCE_MS);
    });
  }

  private depart(): void {
    clearTimeout(this.due as NodeJS.Timeout);
    clearImmediate(this.due as NodeJS.Immediate);
    this.due = undefined;
    while (this.waiting.length > 0) void this.take(this.waiting.splice(0, MOST_TOGETHER));
  }

  private async take(bundle: Asked<Body, Reply>[]): Promise<void> {
    this.underWay++;
    try {
      const replies = await this.send(bundle.map(({ body }) => body));
      bundle.forEach(({ resolve }, index) => resolve(replies[index]!));
    } catch (error) {
      bundle.forEach(({ reject }) => reject(error));
    } finally {
      this.underWay--;
      if (this.underWay === 0) this.depart();
    }
  }
}
