import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseJson } from './json-body.js';
import { Problem } from './problem.js';
import { PROBLEM_TYPE, problemBody } from './problem-body.js';
import { sendProblem } from './problem.filter.js';
import { requestId } from './request-id.js';
import { toProblem } from './to-problem.js';

const JSON_LIMIT = 4 * 2 ** 20;
/** Headers are small: who needs longer holds a connection for nothing. */
const HEADERS_TIMEOUT_MS = 60_000;
/** A connection on which nothing moves at all; uploads move, and long polls are shorter. */
const SILENCE_MS = 15 * 60_000;
/** Longer than load balancers keep theirs (60 s), so that it is never us who close one that they are about to use. */
const KEEP_ALIVE_MS = 72_000;

export interface FastifyAdapterOptions {
  /** Bytes of a JSON body; files come as streams and have their own limits. */
  readonly bodyLimit?: number;
  /** Which proxies' X-Forwarded-* headers are believed; by default nobody's. */
  readonly trustProxy?: boolean | string;
}

/** The HTTP server of the gateway: JSON is the only body that is read for the handlers, other types are streams. */
export function createFastifyAdapter(options: FastifyAdapterOptions = {}): FastifyAdapter {
  const adapter = new GatewayAdapter({
    bodyLimit: options.bodyLimit ?? JSON_LIMIT,
    trustProxy: options.trustProxy ?? false,
    genReqId: requestId,
    // An upload may take hours and a long poll is silent by design: neither has a time as a whole.
    requestTimeout: 0,
    connectionTimeout: SILENCE_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS },
    // On shutdown requests under way end by themselves; connections that only wait are closed at once.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: 1024 },
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: answerClientError,
  });
  const fastify = adapter.getInstance<FastifyInstance>();
  fastify.removeContentTypeParser('text/plain');
  fastify.decorateRequest('viewer', undefined);
  fastify.decorateRequest('jobId', undefined);
  fastify.decorateRequest('problem', undefined);
  return adapter;
}

/** Nest would read forms as well; nobody here takes one, and 415 says so. */
class GatewayAdapter extends FastifyAdapter {
  override registerParserMiddleware(): void {
    if (this.hasJson) return;
    this.hasJson = true;
    const { bodyLimit } = this.getInstance().initialConfig;
    this.useBodyParser('application/json', false, { bodyLimit }, (_request, body, done) => {
      try {
        done(null, parseJson(body));
      } catch (error) {
        done(error as Error);
      }
    });
  }

  private hasJson = false;
}

/** The router refused the URL: no hook, guard or filter has run. */
function answerFrameworkError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const path = request.raw.url ?? '';
  sendProblem(reply, toProblem(error, { method: request.method, path }), request.id);
}

/** Not HTTP, headers too large or too slow: there is no request yet, so the answer is written by hand. */
function answerClientError(
  this: { log: FastifyBaseLogger },
  error: NodeJS.ErrnoException,
  socket: Socket,
): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const { _httpMessage: response } = socket as Socket & { _httpMessage?: ServerResponse };
  if (!socket.writable || response?.headersSent) {
    socket.destroy(error);
    return;
  }
  const problem = new Problem(
    400,
    'bad_request',
    CLIENT_ERRORS[error.code ?? ''] ?? 'The request is not HTTP.',
  );
  const body = problemBody(problem, requestId({ headers: {} }));
  socket.end(
    `HTTP/1.1 400 Bad Request\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
  );
}

const CLIENT_ERRORS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'The headers of the request are larger than 16 KiB.',
  ERR_HTTP_REQUEST_TIMEOUT: 'The headers of the request did not arrive in time.',
};
