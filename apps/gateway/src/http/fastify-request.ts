import type { Viewer } from '../auth/viewer.js';
import type { Problem } from './problem.js';

/** What this gateway notes on a request on its way through. */
declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; there is one on every route that is not public. */
    viewer?: Viewer;
    /** The job that it makes: its line in the log names it. */
    jobId?: string;
    /** What the client was told instead of an answer. */
    problem?: Problem;
  }
}
