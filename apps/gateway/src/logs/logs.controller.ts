import { Controller, Get, Param, Query, StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { bytes } from '#shared/job/job-spec.js';
import { CurrentViewer, type Viewer } from '../auth/viewer.js';
import { ApiQueryOf } from '../http/api-query.js';
import { parseQuery } from '../http/validate.js';
import { JobQueries } from '../jobs/job-queries.js';
import type { JobWithAttempts } from '../jobs/job-view.js';
import { JobLogs } from './job-logs.js';

const logsQuery = z.strictObject({
  stream: z.enum(['stdout', 'stderr']).optional().describe('By default both, each under a headline'),
  tail: bytes.optional().describe('Only this many bytes from the end'),
});

@ApiTags('jobs')
@Controller('v1/jobs/:id/logs')
export class LogsController {
  constructor(
    private readonly queries: JobQueries,
    private readonly logs: JobLogs,
  ) {}

  /** What the command wrote, as text; while it runs, what it has written so far. */
  @Get()
  @ApiOperation({ summary: 'Read what the command wrote' })
  @ApiQueryOf(logsQuery)
  @ApiResponse({
    status: 200,
    description: 'Text',
    content: { 'text/plain': { schema: { type: 'string' } } },
  })
  async read(
    @Param('id') id: string,
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
  ): Promise<StreamableFile> {
    const { stream, tail } = parseQuery(logsQuery, query);
    const job = await this.queries.row(id, viewer);
    const text = stream
      ? await this.logs.read(job, stream, tail)
      : Readable.from(this.both(job, tail), { objectMode: false });
    return new StreamableFile(text, { type: 'text/plain; charset=utf-8' });
  }

  private async *both(job: JobWithAttempts, tail: number | undefined): AsyncGenerator<Buffer> {
    for (const stream of ['stdout', 'stderr'] as const) {
      yield Buffer.from(`==> ${stream} <==\n`);
      let last: Buffer | undefined;
      for await (const chunk of await this.logs.read(job, stream, tail)) yield (last = chunk as Buffer);
      if (last && last.at(-1) !== 0x0a) yield Buffer.from('\n');
    }
  }
}
