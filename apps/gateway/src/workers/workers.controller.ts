import { Controller, Get } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Role } from '../auth/role.decorator.js';
import { Workers, type WorkerRow } from './workers.js';

interface WorkerView {
  id: string;
  host: string;
  version: string;
  queues: WorkerRow['queues'];
  capabilities: WorkerRow['capabilities'];
  draining: boolean;
  running: number;
  startedAt: string;
  heardAt: string;
}

@ApiTags('workers')
@Controller('v1/workers')
export class WorkersController {
  constructor(private readonly workers: Workers) {}

  /** The workers that were heard of lately. */
  @Get()
  @Role('operator')
  async list(): Promise<{ workers: WorkerView[] }> {
    return { workers: (await this.workers.present()).map(viewOf) };
  }
}

function viewOf({ started_at, heard_at, id, host, version, queues, capabilities, draining, running }: WorkerRow): WorkerView {
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
