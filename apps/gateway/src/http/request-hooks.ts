import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Metrics } from '../metrics/metrics.js';
import './fastify-request.js';

/** Asked every few seconds by machines; they would bury the rest of the log. */
const QUIET_ROUTES = /^\/(health|metrics)(\/|$)/;

/** What happens around every request: its id, one line and one measurement at its end. */
@Injectable()
export class RequestHooks implements OnModuleInit {
  private readonly logger = new Logger('Http');
  private leaving = false;

  constructor(
    private readonly host: HttpAdapterHost,
    private readonly metrics: Metrics,
  ) {}

  /** From now on every answer is the last one on its connection: one that is kept would keep the server from closing. */
  drain(): void {
    this.leaving = true;
  }

  onModuleInit(): void {
    const fastify = this.host.httpAdapter.getInstance<FastifyInstance>();
    fastify.addHook('onRequest', (request, reply, done) => {
      // On the raw response, so that answers that bypass Fastify (event streams) carry it too.
      reply.raw.setHeader('x-request-id', request.id);
      // Outputs of jobs are anything at all: a browser must not guess a page into them.
      reply.raw.setHeader('x-content-type-options', 'nosniff');
      done();
    });
    fastify.addHook('onSend', (_request, reply, payload, done) => {
      if (this.leaving) void reply.header('connection', 'close');
      done(null, payload);
    });
    fastify.addHook('onResponse', (request, reply, done) => {
      this.finished(request, reply);
      done();
    });
  }

  private finished(request: FastifyRequest, reply: FastifyReply): void {
    const route = request.is404 ? 'unknown' : (request.routeOptions.url ?? 'unknown');
    const { method } = request;
    const status = reply.raw.statusCode;
    const ms = Math.round(reply.elapsedTime * 10) / 10;
    this.metrics.httpRequestSeconds.observe({ method, route, status }, reply.elapsedTime / 1000);
    const line = {
      requestId: request.id,
      jobId: request.jobId,
      method,
      route,
      path: request.url.replace(/\?.*/s, '').slice(0, 500),
      status,
      ms,
      owner: request.viewer?.owner,
      code: request.problem?.code,
      aborted: reply.raw.writableFinished ? undefined : true,
    };
    const text = `${method} ${route} ${status}`;
    if (QUIET_ROUTES.test(route)) this.logger.debug(text, line);
    else this.logger.log(text, line);
  }
}
