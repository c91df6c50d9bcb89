import type { LogContext } from '#shared/logging/log-context.js';
import type { Viewer } from '../auth/viewer.js';
import type { Problem } from './problem.js';

/** What this gateway notes on a request on its way through. */
declare module 'fastify' {
  interface FastifyRequest {
    logContext?: LogContext;
    /** Who asks; there is one on every route that is not public. */
    viewer?: Viewer;
    /** What the client was told instead of an answer. */
    problem?: Problem;
  }
}
