import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { Role } from '../auth/role.decorator.js';
import { responseSchema } from '../http/api-schemas.js';
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
