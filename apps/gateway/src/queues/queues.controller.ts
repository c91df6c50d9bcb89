import { z } from 'zod';
import { queueSettings } from '#shared/job/job-spec.js';
import { Controller, Get, Param } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { responseSchema } from '../http/api-schemas.js';
import { Problem } from '../http/problem.js';
import { Queues, type Queue } from './queues.js';

const queueView = queueSettings.omit({ env: true }).extend({ name: z.string() });
/** What clients may know of a queue; its variables may hold what only its jobs should see. */
type QueueView = z.output<typeof queueView>;

const QUEUE = responseSchema('Queue', queueView);
const QUEUES = responseSchema('QueueList', z.object({ queues: z.array(queueView) }));

@ApiTags('queues')
@Controller('v1/queues')
export class QueuesController {
  constructor(private readonly queues: Queues) {}

  @Get()
  @ApiOperation({ summary: 'List the queues' })
  @ApiResponse({ status: 200, description: 'All queues', schema: QUEUES })
  async list(): Promise<{ queues: QueueView[] }> {
    return { queues: (await this.queues.list()).map(viewOf) };
  }

  @Get(':name')
  @ApiOperation({ summary: 'Read a queue' })
  @ApiResponse({ status: 200, description: 'The queue', schema: QUEUE })
  async read(@Param('name') name: string): Promise<QueueView> {
    const queue = (await this.queues.list()).find((it) => it.name === name);
    if (queue) return viewOf(queue);
    throw new Problem(404, 'not_found', `There is no queue ${JSON.stringify(name)}; /v1/queues lists all.`);
  }
}

function viewOf({ name, settings: { env: _env, ...settings } }: Queue): QueueView {
  return { name, ...settings };
}
