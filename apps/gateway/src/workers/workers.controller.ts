import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { Role } from '../auth/role.decorator.js';
import { requestSchema, responseSchema } from '../http/api-schemas.js';
import { parse } from '../http/validate.js';
import { seconds } from '#shared/job/job-spec.js';
import { wordsOf } from '#shared/job/requirements.js';
import { Workers, type WorkerRow } from './workers.js';

const workerView = z.object({
  id: z.string(),
  host: z.string(),
  version: z.string(),
  image: z.string().optional(),
  queues: z.record(z.string(), z.object({ slots: z.int() })),
  enforces: z
    .array(z.string())
    .describe('What its host has been shown to enforce: jobs that require anything else are not run there'),
  capabilities: z.record(z.string(), z.union([z.boolean(), z.string()])),
  draining: z.boolean(),
  running: z.int().describe('Attempts that it holds; of short jobs a slot may have several in hand'),
  startedAt: z.iso.datetime(),
  heardAt: z.iso.datetime(),
});
type WorkerView = z.output<typeof workerView>;

const WORKERS = responseSchema('WorkerList', z.object({ workers: z.array(workerView) }));

const WORKER = responseSchema('Worker', workerView);

const drainRequest = z.strictObject({
  timeout: seconds
    .optional()
    .describe("Seconds until what still runs is handed back; by default the worker's LABHAND_DRAIN_TIMEOUT"),
});
const DRAIN_REQUEST = requestSchema('DrainRequest', drainRequest);

@ApiTags('workers')
@Controller('v1/workers')
export class WorkersController {
  constructor(private readonly workers: Workers) {}

  /** The workers that were heard of lately. */
  @Get()
  @Role('operator')
  @ApiOperation({ summary: 'List the workers that were heard of lately' })
  @ApiResponse({ status: 200, description: 'Who serves what', schema: WORKERS })
  async list(): Promise<{ workers: WorkerView[] }> {
    return { workers: (await this.workers.present()).map(viewOf) };
  }

  @Post(':id/drain')
  @HttpCode(200)
  @Role('operator')
  @ApiOperation({
    summary:
      'Have a worker take no more jobs, let those that run end, and stop; start it again to take that back',
  })
  @ApiBody({ schema: DRAIN_REQUEST, required: false })
  @ApiResponse({ status: 200, description: 'It is told', schema: WORKER })
  async drain(@Param('id') id: string, @Body() body: unknown): Promise<WorkerView> {
    const { timeout } = parse(drainRequest, body ?? {}, 'the drain');
    return viewOf(await this.workers.drain(id, timeout));
  }
}

function viewOf(worker: WorkerRow): WorkerView {
  const { id, host, version, image, queues, draining, running } = worker;
  const { enforces: _words, ...capabilities } = worker.capabilities;
  return {
    id,
    host,
    version,
    ...(image === null ? {} : { image }),
    queues,
    enforces: wordsOf(worker.enforces),
    capabilities,
    draining,
    running,
    startedAt: worker.started_at.toISOString(),
    heardAt: worker.heard_at.toISOString(),
  };
}
