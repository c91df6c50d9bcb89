import { Catch, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import './fastify-request.js';
import { Problem } from './problem.js';
import { PROBLEM_TYPE, problemBody } from './problem-body.js';
import { toProblem } from './to-problem.js';

/** What a handler may have said of the body that it then did not send. */
const ABOUT_THE_BODY = [
  'content-length',
  'content-encoding',
  'content-disposition',
  'content-range',
  'accept-ranges',
  'etag',
  'last-modified',
  'cache-control',
  'location',
];

/** The one place that knows how an error becomes an answer. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger('Http');

  catch(error: unknown, host: ArgumentsHost): void {
    // Handlers of messages have their own way to fail.
    if (host.getType() !== 'http') throw error;
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const problem = toProblem(error, {
      method: request.method,
      path: request.url.replace(/\?.*/s, ''),
      contentType: request.headers['content-type'],
    });
    request.problem = problem;
    this.log(problem, error, request);
    if (reply.sent || reply.raw.headersSent) {
      // The client has a part of the answer: only a broken connection tells that it is not all.
      reply.raw.destroy();
      return;
    }
    sendProblem(reply, problem, request.id);
  }

  private log(problem: Problem, error: unknown, { id: requestId, jobId }: FastifyRequest): void {
    const about = { requestId, jobId };
    if (problem.code === 'internal_error') this.logger.error('a request failed unexpectedly', error, about);
    else if (problem.status >= 500) this.logger.warn(problem.detail, { ...about, cause: causeOf(problem) });
  }
}

/** Sends the problem in place of whatever the handler had begun to say. */
export function sendProblem(reply: FastifyReply, problem: Problem, requestId: string): void {
  for (const name of ABOUT_THE_BODY) reply.removeHeader(name);
  void reply
    .code(problem.status)
    .headers(problem.headers)
    .header('cache-control', 'no-store')
    .header('content-type', PROBLEM_TYPE)
    // Bytes, because to text Fastify adds a charset, which this type does not have.
    .send(Buffer.from(problemBody(problem, requestId)));
}

function causeOf({ cause }: Problem): string | undefined {
  return cause instanceof Error ? `${cause.name}: ${cause.message}` : undefined;
}
