import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** The id that the client or a proxy gave the request when it is sane, else a new one. */
export function requestId(request: Pick<IncomingMessage, 'headers'>): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,128}$/.test(given) ? given : randomUUID();
}
