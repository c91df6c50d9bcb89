import type { QueueDeclaration } from '../amqp/topology.js';
import type { OutgoingMessage, RawMessage, Settlement } from './broker.js';

export type QueuedMessage = Required<Pick<OutgoingMessage, 'type' | 'content' | 'headers'>> &
  Pick<RawMessage, 'reply'>;

interface Entry {
  readonly message: QueuedMessage;
  readonly position: number;
  readonly expiresAt: number;
  redelivered: boolean;
}

/** What a queue asks of a consumer. */
export interface Taker {
  ready(): boolean;
  take(message: RawMessage, settle: (settlement: Settlement) => void): void;
}

/** A queue in memory, which honours the arguments that our topology uses. */
export class InProcessQueue {
  private readonly entries: Entry[] = [];
  private readonly takers: Taker[] = [];
  private bytes = 0;
  private positions = 0;
  private scheduled = false;

  constructor(
    private readonly declaration: QueueDeclaration,
    private readonly deadLetter: (message: QueuedMessage, key: string) => void = () => undefined,
  ) {}

  get name(): string {
    return this.declaration.name;
  }

  push(message: QueuedMessage): void {
    const ttl = this.argument('x-message-ttl') ?? Infinity;
    this.entries.push({
      message,
      position: ++this.positions,
      expiresAt: Date.now() + ttl,
      redelivered: false,
    });
    this.bytes += message.content.length;
    const maxBytes = this.argument('x-max-length-bytes') ?? Infinity;
    while (this.bytes > maxBytes && this.entries.length > 0) this.bury(this.shift());
    this.dispatchSoon();
  }

  /** Takes a message out unseen. @returns false when there is none */
  draw(): boolean {
    if (this.depth() === 0) return false;
    this.shift();
    return true;
  }

  depth(): number {
    this.dropExpired();
    return this.entries.length;
  }

  addTaker(taker: Taker): void {
    this.takers.push(taker);
    this.dispatchSoon();
  }

  removeTaker(taker: Taker): void {
    const at = this.takers.indexOf(taker);
    if (at >= 0) this.takers.splice(at, 1);
  }

  /** Hands out what can be, after the present call: no sender finds itself inside a handler. */
  dispatchSoon(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.dispatch();
    });
  }

  private dispatch(): void {
    this.dropExpired();
    while (this.entries.length > 0) {
      const at = this.takers.findIndex((taker) => taker.ready());
      if (at < 0) return;
      // Who was served goes to the end of the line.
      const [taker] = this.takers.splice(at, 1);
      this.takers.push(taker!);
      const entry = this.shift();
      taker!.take({ ...entry.message, redelivered: entry.redelivered }, (settlement) =>
        this.settle(entry, settlement),
      );
    }
  }

  private settle(entry: Entry, settlement: Settlement): void {
    if (settlement === 'requeue') this.putBack(entry);
    else if (settlement === 'dead-letter') this.bury(entry);
    this.dispatchSoon();
  }

  /** To where it stood, as near to the front as it was. */
  private putBack(entry: Entry): void {
    entry.redelivered = true;
    const after = this.entries.findIndex(({ position }) => position > entry.position);
    this.entries.splice(after < 0 ? this.entries.length : after, 0, entry);
    this.bytes += entry.message.content.length;
  }

  private bury({ message }: Entry): void {
    const key = this.declaration.arguments['x-dead-letter-routing-key'];
    if (typeof key === 'string') this.deadLetter({ ...message, reply: undefined }, key);
  }

  private dropExpired(): void {
    const now = Date.now();
    while (this.entries[0] && this.entries[0].expiresAt <= now) this.bury(this.shift());
  }

  private shift(): Entry {
    const entry = this.entries.shift()!;
    this.bytes -= entry.message.content.length;
    return entry;
  }

  private argument(name: string): number | undefined {
    const value = this.declaration.arguments[name];
    return typeof value === 'number' ? value : undefined;
  }
}
