import { Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { MetricsModule } from '../metrics/metrics.module.js';
import { ProblemFilter } from './problem.filter.js';
import { RequestHooks } from './request-hooks.js';

/** What every request passes, whatever it asks for. Needs the adapter of fastify.ts. */
@Module({
  imports: [MetricsModule],
  providers: [{ provide: APP_FILTER, useClass: ProblemFilter }, RequestHooks],
})
export class HttpModule {}
