import { Logger, StreamableFile } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Readable } from 'node:stream';

/** One event of a stream of server-sent events; undefined where nothing happened for a while. */
export interface ServerSentEvent {
  readonly event?: string;
  /** What a client that comes back says it had last. */
  readonly id: string;
  readonly data: unknown;
}

const logger = new Logger('EventStream');

/** Milliseconds without an event until a comment shows that the connection is alive. */
const SIGN_OF_LIFE_MS = 15_000;
/** Milliseconds that a client waits before it comes back. */
const RETRY_MS = 1000;

/** Answers with events, each taken only when the client has room for it; a client that goes ends them. */
export function eventStream(
  reply: FastifyReply,
  events: AsyncIterable<ServerSentEvent | undefined>,
): StreamableFile {
  void reply.headers({
    'cache-control': 'no-store',
    // Proxies must hand on each event at once.
    'x-accel-buffering': 'no',
  });
  const text = Readable.from(encoded(events), { objectMode: false });
  text.on('error', (error) => logger.warn(`a stream of events ended early: ${error.message}`));
  return new StreamableFile(text, { type: 'text/event-stream' });
}

async function* encoded(events: AsyncIterable<ServerSentEvent | undefined>): AsyncGenerator<string> {
  yield `retry: ${RETRY_MS}\n\n`;
  let last = Date.now();
  for await (const event of events) {
    if (!event && Date.now() - last < SIGN_OF_LIFE_MS) continue;
    yield event ? encode(event) : ':\n\n';
    last = Date.now();
  }
}

function encode({ event, id, data }: ServerSentEvent): string {
  return `${event === undefined ? '' : `event: ${event}\n`}id: ${id}\ndata: ${JSON.stringify(data)}\n\n`;
}
