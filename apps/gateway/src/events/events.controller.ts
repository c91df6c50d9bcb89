import { Controller, Get, Headers, Param, Query, Res, StreamableFile } from '@nestjs/common';
import { ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { JOB_STATES } from '#shared/job/job-state.js';
import { jobEvent } from '#shared/messages/messages.js';
import { CurrentViewer, seesAll, type Viewer } from '../auth/viewer.js';
import { ApiQueryOf } from '../http/api-query.js';
import { responseSchema } from '../http/api-schemas.js';
import { clientGone } from '../http/client-gone.js';
import { eventStream } from '../http/event-stream.js';
import { Problem } from '../http/problem.js';
import { parseQuery } from '../http/validate.js';
import { JobQueries } from '../jobs/job-queries.js';
import { EventFollowing } from './event-following.js';
import { EventHorizon } from './event-horizon.js';

const listOf = <T extends z.ZodType<string, string>>(item: T) =>
  z
    .string()
    .transform((text) => text.split(',').filter((part) => part !== ''))
    .pipe(z.array(item));

const states = listOf(z.enum(JOB_STATES)).optional().describe('One or more states, separated by commas');
const jobEventsQuery = z.strictObject({ state: states });
const eventsQuery = z.strictObject({
  queue: listOf(z.string()).optional().describe('One or more queues, separated by commas'),
  state: states,
  from: z.enum(['start', 'now']).default('now').describe('All that are kept, or only new ones'),
});

/** Before all events. */
const FIRST = '0';

const RESUME = {
  name: 'Last-Event-ID',
  description:
    'Go on after the event with this id; an event `dropped` comes first when it is not there any more',
  required: false,
};
responseSchema('JobEvent', jobEvent);
const EVENTS = {
  description: 'Server-sent events; the data of each is a JobEvent',
  content: { 'text/event-stream': { schema: { type: 'string' } } },
};

/** What happens to jobs, as it happens. */
@ApiTags('events')
@Controller('v1')
export class EventsController {
  constructor(
    private readonly queries: JobQueries,
    private readonly following: EventFollowing,
    private readonly horizon: EventHorizon,
  ) {}

  @Get('events')
  @ApiOperation({ summary: 'Follow what happens to jobs: your own or, for operators, all' })
  @ApiQueryOf(eventsQuery)
  @ApiHeader(RESUME)
  @ApiResponse({ status: 200, ...EVENTS })
  async all(
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Headers('last-event-id') lastEventId?: string,
  ): Promise<StreamableFile> {
    const { queue, state, from } = parseQuery(eventsQuery, query);
    const filter = { owner: seesAll(viewer) ? undefined : viewer.owner, queues: queue, states: state };
    const last = knownId(lastEventId);
    // Before the answer begins: whoever has it is told of everything from then on.
    const after = last ?? (from === 'start' ? FIRST : await this.horizon.now());
    const place = { after, resumes: last !== undefined };
    return eventStream(reply, this.following.follow(filter, place, clientGone(reply)));
  }

  /** The stream ends after the job's final event; a client that comes back then gets 204. */
  @Get('jobs/:id/events')
  @ApiOperation({ summary: 'Follow what happens to one job, from its submission to its end' })
  @ApiQueryOf(jobEventsQuery)
  @ApiHeader(RESUME)
  @ApiResponse({ status: 200, ...EVENTS })
  @ApiResponse({ status: 204, description: 'Nothing follows after the final event' })
  async ofJob(
    @Param('id') id: string,
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Headers('last-event-id') lastEventId?: string,
  ): Promise<StreamableFile | undefined> {
    const { state } = parseQuery(jobEventsQuery, query);
    const job = await this.queries.row(id, viewer);
    const last = knownId(lastEventId);
    if (last !== undefined && (await this.following.isEnd(job.id, last))) {
      void reply.status(204);
      return undefined;
    }
    const filter = { jobId: job.id, states: state };
    const place = { after: last ?? FIRST, resumes: last !== undefined };
    return eventStream(reply, this.following.follow(filter, place, clientGone(reply)));
  }
}

/** @throws {Problem} 422 */
function knownId(lastEventId: string | undefined): string | undefined {
  if (lastEventId === undefined || /^\d{1,18}$/.test(lastEventId)) return lastEventId;
  const message = 'the header Last-Event-ID is not the id of an event; leave it out';
  throw new Problem(422, 'invalid_request', `The request is not valid: ${message}.`, {
    errors: [{ path: 'Last-Event-ID', message }],
  });
}
