import {
  Body,
  Controller,
  Get,
  Headers,
  HttpCode,
  Inject,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { jobSpec, seconds } from '#shared/job/job-spec.js';
import { isFinal } from '#shared/job/job-state.js';
import { CurrentViewer, type Viewer } from '../auth/viewer.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { ApiQueryOf } from '../http/api-query.js';
import { requestSchema, responseSchema, schemaRef } from '../http/api-schemas.js';
import { clientGone } from '../http/client-gone.js';
import { parse, parseQuery } from '../http/validate.js';
import { JobControl } from './job-control.js';
import { jobFilter, JobQueries } from './job-queries.js';
import { canceledView, jobView, toJobView, type CanceledView, type JobView } from './job-view.js';
import { JobWaiting } from './job-waiting.js';
import { preferredWait } from './prefer.js';
import { Reruns } from './reruns.js';
import { signalRequest } from './signal-request.js';
import { Submissions } from './submissions.js';

const waitQuery = z.strictObject({
  wait: seconds.optional().describe('Answer once the job is final, or after this many seconds'),
});

const JOB = { description: 'The job', schema: responseSchema('Job', jobView) };
const JOBS = {
  description: 'A page, newest first; `next` is the cursor of the following one',
  schema: responseSchema('JobPage', z.object({ jobs: z.array(jobView), next: z.uuid().optional() })),
};
requestSchema('JobSpec', jobSpec);
requestSchema('SignalRequest', signalRequest);
responseSchema('CanceledJob', canceledView);

/** The multipart form, whose parts the JSON Schema of a job alone cannot show. */
const FORM = {
  type: 'object',
  required: ['job'],
  properties: {
    job: schemaRef('JobSpec'),
    file: { type: 'array', items: { type: 'string', format: 'binary' } },
    archive: { type: 'array', items: { type: 'string', format: 'binary' } },
  },
};

@ApiTags('jobs')
@Controller('v1/jobs')
export class JobsController {
  constructor(
    private readonly submissions: Submissions,
    private readonly queries: JobQueries,
    private readonly waiting: JobWaiting,
    private readonly control: JobControl,
    private readonly reruns: Reruns,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  /** Takes a job: 202, or with `Prefer: wait=N` 200 when it ended in time. */
  @Post()
  @ApiOperation({
    summary: 'Submit a job, as JSON or with files as multipart: part "job" first, then "file" and "archive"',
  })
  @ApiHeader({ name: 'Prefer', description: 'wait=30: answer with the finished job if it ends in that time' })
  @ApiHeader({ name: 'Idempotency-Key', description: 'The same key and body again get the first reply' })
  @ApiConsumes('application/json', 'multipart/form-data')
  @ApiBody({ schema: { anyOf: [schemaRef('JobSpec'), FORM] } })
  @ApiResponse({ status: 200, ...JOB, description: 'It ended while you waited' })
  @ApiResponse({ status: 202, ...JOB, description: 'It is accepted; Location names it' })
  async submit(
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @CurrentViewer() viewer: Viewer,
    @Headers('idempotency-key') key?: string,
    @Headers('prefer') prefer?: string,
  ): Promise<JobView> {
    const { view, replayed } = await this.submissions.accept(request, viewer, key);
    void reply.status(202).header('location', view.links.self);
    if (replayed) void reply.header('idempotency-replayed', 'true');
    const wanted = preferredWait(prefer);
    if (wanted === undefined) return view;
    const wait = Math.min(wanted, this.config.maxWait);
    void reply.header('preference-applied', `wait=${wait}`);
    const job = await this.waiting.final(view.id, viewer, wait, clientGone(reply), !replayed);
    if (isFinal(job.state)) void reply.status(200);
    return toJobView(job);
  }

  @Get()
  @ApiOperation({ summary: 'List jobs' })
  @ApiQueryOf(jobFilter)
  @ApiResponse({ status: 200, ...JOBS })
  list(
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
  ): Promise<{ jobs: JobView[]; next?: string }> {
    return this.queries.list(parseQuery(jobFilter, query), viewer);
  }

  /** The job; with `?wait=30` once it is final, or as it is after that many seconds. */
  @Get(':id')
  @ApiOperation({ summary: 'Read a job, or wait for its end' })
  @ApiQueryOf(waitQuery)
  @ApiResponse({ status: 200, ...JOB })
  async read(
    @Param('id') id: string,
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Headers('if-none-match') known?: string,
  ): Promise<JobView | undefined> {
    const { wait } = parseQuery(waitQuery, query);
    const row =
      wait === undefined
        ? await this.queries.row(id, viewer)
        : await this.waiting.final(id, viewer, Math.min(wait, this.config.maxWait), clientGone(reply));
    const job = await this.queries.fullView(row);
    const etag = `"${createHash('sha256').update(JSON.stringify(job)).digest('base64url').slice(0, 22)}"`;
    void reply.header('etag', etag).header('cache-control', 'no-cache');
    if (known !== etag) return job;
    void reply.status(304);
    return undefined;
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @ApiOperation({ summary: 'Cancel: at once while it waits; a running one is ended by its worker' })
  @ApiResponse({
    status: 200,
    description: 'The job, and what the cancel came to',
    schema: schemaRef('CanceledJob'),
  })
  cancel(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<CanceledView> {
    return this.control.cancel(id, viewer);
  }

  @Post(':id/hold')
  @HttpCode(200)
  @ApiOperation({ summary: 'Hold a queued job until it is released' })
  @ApiResponse({ status: 200, ...JOB })
  hold(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<JobView> {
    return this.control.hold(id, viewer);
  }

  @Post(':id/release')
  @HttpCode(200)
  @ApiOperation({ summary: 'Release a held job' })
  @ApiResponse({ status: 200, ...JOB })
  release(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<JobView> {
    return this.control.release(id, viewer);
  }

  @Post(':id/pause')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Stop all processes of a running job; its state is paused once its worker has done so',
  })
  @ApiResponse({ status: 200, ...JOB })
  pause(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<JobView> {
    return this.control.pause(id, viewer);
  }

  @Post(':id/resume')
  @HttpCode(200)
  @ApiOperation({ summary: 'Let a paused job go on' })
  @ApiResponse({ status: 200, ...JOB })
  resume(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<JobView> {
    return this.control.resume(id, viewer);
  }

  @Post(':id/signal')
  @HttpCode(200)
  @ApiOperation({ summary: 'Send a signal to the command of a running job' })
  @ApiBody({ schema: schemaRef('SignalRequest') })
  @ApiResponse({ status: 200, ...JOB, description: 'It was sent' })
  signal(@Param('id') id: string, @Body() body: unknown, @CurrentViewer() viewer: Viewer): Promise<JobView> {
    return this.control.signal(id, viewer, parse(signalRequest, body, 'the signal'));
  }

  @Post(':id/rerun')
  @HttpCode(202)
  @ApiOperation({ summary: 'Submit a job that has ended once more, with copies of its input files' })
  @ApiHeader({ name: 'Idempotency-Key', description: 'The same key again gets the first reply' })
  @ApiResponse({ status: 202, ...JOB, description: 'The new job; `rerunOf` names the old one' })
  async rerun(
    @Param('id') id: string,
    @CurrentViewer() viewer: Viewer,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Headers('idempotency-key') key?: string,
  ): Promise<JobView> {
    const { view, replayed } = await this.reruns.accept(id, viewer, key);
    void reply.header('location', view.links.self);
    if (replayed) void reply.header('idempotency-replayed', 'true');
    return view;
  }
}
