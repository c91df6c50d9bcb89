import { Controller, Get, Param } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Problem } from '../http/problem.js';
import { Queues, type Queue } from './queues.js';

/** What clients may know of a queue; its variables may hold what only its jobs should see. */
type QueueView = Omit<Queue['settings'], 'env'> & { name: string };

@ApiTags('queues')
@Controller('v1/queues')
export class QueuesController {
  constructor(private readonly queues: Queues) {}

  @Get()
  async list(): Promise<{ queues: QueueView[] }> {
    return { queues: (await this.queues.list()).map(viewOf) };
  }

  @Get(':name')
  async read(@Param('name') name: string): Promise<QueueView> {
    const queue = (await this.queues.list()).find((it) => it.name === name);
    if (queue) return viewOf(queue);
    throw new Problem(404, 'not_found', `There is no queue ${JSON.stringify(name)}; /v1/queues lists all.`);
  }
}

function viewOf({ name, settings: { env: _env, ...settings } }: Queue): QueueView {
  return { name, ...settings };
}
