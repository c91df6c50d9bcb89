import { setTimeout as delay } from 'node:timers/promises';

/** A promise that the test settles. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** What came, in order, and a way to wait for the next. */
export class Inbox<T> {
  readonly all: T[] = [];
  private readonly waiting: ((item: T) => void)[] = [];
  private read = 0;

  put(item: T): void {
    this.all.push(item);
    const waiting = this.waiting.shift();
    if (!waiting) return;
    this.read++;
    waiting(item);
  }

  next(): Promise<T> {
    if (this.read < this.all.length) return Promise.resolve(this.all[this.read++]!);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async take(count: number): Promise<T[]> {
    const items: T[] = [];
    while (items.length < count) items.push(await this.next());
    return items;
  }
}

/** Resolves when `ask` gives `expected`; a test that waits in vain ends by its time limit and says what it got. */
export async function eventually<T>(
  ask: () => T | Promise<T>,
  expected: T,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const actual = await ask();
    if (Object.is(actual, expected)) return;
    if (Date.now() > deadline) throw new Error(`expected ${String(expected)}, still got ${String(actual)}`);
    await delay(10);
  }
}
