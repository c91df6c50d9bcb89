import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { Role } from '../auth/role.decorator.js';
import { requestSchema, responseSchema } from '../http/api-schemas.js';
import { parse } from '../http/validate.js';
import { seconds } from '#shared/job/job-spec.js';
import { Workers, type WorkerRow } from './workers.js';

const workerView = z.object({
  id: z.string(),
  host: z.string(),
  version: z.string(),
  queues: z.record(z.string(), z.object({ slots: z.int() })),
  capabilities: z.record(z.string(), z.union([z.boolean(), z.string()])),
  draining: z.boolean(),
  running: z.int(),
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

function viewOf({
  started_at,
  heard_at,
  id,
  host,
  version,
  queues,
  capabilities,
  draining,
  running,
}: WorkerRow): WorkerView {
  return {
    id,
    host,
    version,
    queues,
    capabilities,
    draining,
    running,
    startedAt: started_at.toISOString(),
    heardAt: heard_at.toISOString(),
  };
}
