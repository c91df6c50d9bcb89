import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { Problem } from '../http/problem.js';
import { BlobContentError, StorageFullError } from './blob-store.js';

/** How long a client may go on sending what nobody wants any more. */
const DISCARD_MS = 30_000;

/**
 * The bytes of a body, or of one part of it. The stream itself is left standing when the reader stops: destroying a
 * request would close the connection on which the answer has to go.
 * @param refuse called before more than `limit` bytes are handed on
 * @throws {Problem} 400 `body_incomplete`
 */
export async function* bodyChunks(
  body: Readable,
  limit = Infinity,
  refuse?: () => Problem,
): AsyncIterable<Buffer> {
  let size = 0;
  try {
    for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) break;
      yield chunk;
    }
  } catch (error) {
    throw bodyIncomplete(error);
  }
  if (size > limit && refuse) throw refuse();
}

/** Reads on without keeping anything, so that the client gets to the answer; for so long, then it is cut off. */
export function discardRest(request: IncomingMessage): void {
  request.unpipe();
  if (request.destroyed || request.readableEnded) return;
  const timer = setTimeout(() => request.destroy(), DISCARD_MS);
  timer.unref();
  request.once('close', () => clearTimeout(timer));
  request.on('error', () => undefined);
  // A listener and not only resume(): the reader that gave up may still be waiting, and lets go a moment later.
  request.on('data', () => undefined);
  request.resume();
}

export function bodyIncomplete(cause: unknown): Problem {
  return new Problem(
    400,
    'body_incomplete',
    'The body did not arrive as it was announced; nothing was kept of it. Send the request again.',
    { cause },
  );
}

/** What the client is told of a body that could not be stored. */
export function storingFault(error: unknown): unknown {
  if (error instanceof BlobContentError) return bodyIncomplete(error);
  if (error instanceof StorageFullError) {
    return new Problem(
      507,
      'storage_full',
      'The server has no room left for files, and nothing was kept of this request; ask its operator, or try again later.',
      { cause: error },
    );
  }
  return error;
}
