import { get, type IncomingMessage } from 'node:http';

/** An event as a client gets it; `data` is parsed. */
export interface ReceivedEvent {
  readonly event: string;
  readonly id: string | undefined;
  // JSON as it came: what it is, the assertions say.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly data: any;
}

/** A client of server-sent events, as the standard describes it, that takes one event after the other. */
export class EventSource {
  /** The id of the event that was taken last. */
  lastEventId: string | undefined;
  comments = 0;
  private readonly events = this.read();

  private constructor(readonly response: IncomingMessage) {}

  static open(url: string, key: string, lastEventId?: string): Promise<EventSource> {
    const headers = {
      authorization: `Bearer ${key}`,
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    };
    return new Promise((resolve, reject) => {
      get(url, { headers, agent: false }, (response) => resolve(new EventSource(response))).on(
        'error',
        reject,
      );
    });
  }

  get status(): number {
    return this.response.statusCode!;
  }

  /** The next event; undefined when the server has ended the stream. */
  async next(): Promise<ReceivedEvent | undefined> {
    const { value, done } = await this.events.next();
    if (done) return undefined;
    this.lastEventId = value.id ?? this.lastEventId;
    return value;
  }

  /** All events up to the first that `isLast` accepts, which is among them. */
  async until(isLast: (event: ReceivedEvent) => boolean): Promise<ReceivedEvent[]> {
    const taken: ReceivedEvent[] = [];
    for (;;) {
      const event = await this.next();
      if (!event) throw new Error(`the stream ended after ${JSON.stringify(taken.slice(-3))}`);
      taken.push(event);
      if (isLast(event)) return taken;
    }
  }

  /** All events that are still to come. */
  async rest(): Promise<ReceivedEvent[]> {
    const taken: ReceivedEvent[] = [];
    for (let event = await this.next(); event; event = await this.next()) taken.push(event);
    return taken;
  }

  close(): void {
    this.response.destroy();
  }

  private async *read(): AsyncGenerator<ReceivedEvent> {
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of this.response) {
      text += decoder.decode(chunk as Buffer, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const event = this.parse(block);
        if (event) yield event;
      }
    }
  }

  private parse(block: string): ReceivedEvent | undefined {
    const fields = new Map<string, string>();
    for (const line of block.split('\n')) {
      if (line.startsWith(':')) this.comments++;
      const [, name, value] = /^([^:]+): ?(.*)$/.exec(line) ?? [];
      if (name) fields.set(name, value!);
    }
    const data = fields.get('data');
    if (data === undefined) return undefined;
    return { event: fields.get('event') ?? 'message', id: fields.get('id'), data: JSON.parse(data) };
  }
}

/** The bytes of one output stream among events. */
export function bytesOf(events: readonly ReceivedEvent[], stream: 'stdout' | 'stderr'): Buffer {
  const parts = events
    .filter(({ event }) => event === stream)
    .map(({ data }) => ('text' in data ? Buffer.from(data.text) : Buffer.from(data.base64, 'base64')));
  return Buffer.concat(parts);
}
