import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import multipart from '@fastify/multipart';
import type { FastifyInstance } from 'fastify';

/** What a route that takes any body as a stream says of itself, with `@RouteConfig(STREAM_BODY)`. */
export const STREAM_BODY = { streamBody: true } as const;

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly streamBody?: boolean;
  }
}

const STREAM_TYPE = 'application/x-labhand-stream';

/** Teaches Fastify bodies that are not read into memory: multipart forms, and whatever is sent to a stream route. */
@Injectable()
export class StreamBodies implements OnModuleInit {
  constructor(private readonly host: HttpAdapterHost) {}

  onModuleInit(): void {
    const fastify = this.host.httpAdapter.getInstance<FastifyInstance>();
    void fastify.register(multipart, {
      // File names carry the path in the workspace.
      preservePath: true,
      // The job part too comes as a stream: curl and browsers send it with a file name or without.
      isPartAFile: () => true,
      // Files have the limit of their queue, which is known only once the job part was read.
      limits: { fileSize: Infinity, headerPairs: 50 },
    });
    // Fastify picks a parser by content type for the whole server, so such a route's type is set aside.
    fastify.addContentTypeParser(STREAM_TYPE, (_request, payload, done) => done(null, payload));
    fastify.addHook('onRequest', (request, _reply, done) => {
      if (request.routeOptions.config?.streamBody) request.raw.headers['content-type'] = STREAM_TYPE;
      done();
    });
  }
}
