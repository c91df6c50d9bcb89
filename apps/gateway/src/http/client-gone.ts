import type { FastifyReply } from 'fastify';

/** Fires when the client has closed the connection before its answer was sent. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return gone.signal;
}
