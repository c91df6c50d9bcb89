/** What was asked, and who waits for the answer. */
interface Asked<Body, Reply> {
  readonly body: Body;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
}

const MOST_TOGETHER = 32;

/** Sends together what is asked in the same turn of the event loop; it does not wait for more. */
export class Bundler<Body, Reply> {
  private waiting: Asked<Body, Reply>[] = [];

  /** @param send answers a bundle, in its order */
  constructor(private readonly send: (bodies: Body[]) => Promise<Reply[]>) {}

  ask(body: Body): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ body, resolve, reject });
      if (this.waiting.length === 1) setImmediate(() => this.depart());
    });
  }

  private depart(): void {
    while (this.waiting.length > 0) void this.take(this.waiting.splice(0, MOST_TOGETHER));
  }

  private async take(bundle: Asked<Body, Reply>[]): Promise<void> {
    try {
      const replies = await this.send(bundle.map(({ body }) => body));
      bundle.forEach(({ resolve }, index) => resolve(replies[index]!));
    } catch (error) {
      bundle.forEach(({ reject }) => reject(error));
    }
  }
}
