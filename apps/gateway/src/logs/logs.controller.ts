import { Controller, Get, Headers, Param, Query, Res, StreamableFile } from '@nestjs/common';
import { ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { bytes } from '#shared/job/job-spec.js';
import { CurrentViewer, type Viewer } from '../auth/viewer.js';
import { ApiQueryOf } from '../http/api-query.js';
import { clientGone } from '../http/client-gone.js';
import { eventStream } from '../http/event-stream.js';
import { Problem } from '../http/problem.js';
import { parseQuery } from '../http/validate.js';
import { JobQueries } from '../jobs/job-queries.js';
import type { JobWithAttempts } from '../jobs/job-view.js';
import { JobLogs, type LoggedAttempt } from './job-logs.js';
import type { StreamName } from './live-logs.js';
import { beginningOf, LogFollowing, type FollowStart } from './log-following.js';
import { parsePlaceId } from './log-place.js';

const logsQuery = z.strictObject({
  stream: z
    .enum(['stdout', 'stderr', 'both'])
    .default('both')
    .describe('As text, both come one after the other, each under a headline'),
  tail: bytes.optional().describe('Only this many bytes from the end of each stream'),
  attempt: z.coerce
    .number()
    .int()
    .min(1)
    .max(999_999_999)
    .optional()
    .describe('Of this attempt only; by default the latest one and, when followed, those after it'),
  follow: z.enum(['0', '1']).default('0').describe('1: as server-sent events, until the job has ended'),
  from: z
    .enum(['start', 'tail'])
    .optional()
    .describe('Where following begins: `tail` at the last `tail` bytes (4096)'),
});
type LogsQuery = z.output<typeof logsQuery>;

const DEFAULT_TAIL = 4096;
const STREAMS = ['stdout', 'stderr'] as const;

const EVENTS = `With \`follow=1\`, server-sent events:

- \`attempt\` \`{attempt, worker}\`: an attempt has begun;
- \`stdout\`, \`stderr\` \`{at, text}\`, or \`{at, base64}\` where it is not UTF-8; \`at\` counts the bytes before it;
- \`gap\` \`{stream, from, to}\`: these bytes are left out while the job runs; they are in the log when it has ended;
- \`cut\` \`{stream, at}\`: the command wrote more than its limit, and the rest was not kept;
- \`end\` \`{attempt, state, reason, message, exitCode}\`: the job has ended.

A client that comes back with \`Last-Event-ID\` goes on where it was, in both streams; after \`end\` it gets 204.`;

@ApiTags('jobs')
@Controller('v1/jobs/:id/logs')
export class LogsController {
  constructor(
    private readonly queries: JobQueries,
    private readonly logs: JobLogs,
    private readonly following: LogFollowing,
  ) {}

  /** What the command wrote, as text; while it runs, what it has written so far. Or all of it as it comes. */
  @Get()
  @ApiOperation({ summary: 'Read or follow what the command writes', description: EVENTS })
  @ApiQueryOf(logsQuery)
  @ApiHeader({
    name: 'Last-Event-ID',
    description: 'Follow on after the event with this id',
    required: false,
  })
  @ApiResponse({
    status: 200,
    description: 'Text, or events',
    content: {
      'text/plain': { schema: { type: 'string' } },
      'text/event-stream': { schema: { type: 'string' } },
    },
  })
  @ApiResponse({ status: 204, description: 'Nothing follows after the event `end`' })
  async read(
    @Param('id') id: string,
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Headers('last-event-id') lastEventId?: string,
  ): Promise<StreamableFile | undefined> {
    const asked = parseQuery(logsQuery, query);
    const job = await this.queries.row(id, viewer);
    if (asked.follow === '1') return this.follow(job, asked, reply, lastEventId);
    const attempt = await this.attempt(job, asked.attempt);
    const text =
      asked.stream === 'both'
        ? Readable.from(this.both(attempt, asked.tail), { objectMode: false })
        : await this.logs.read(attempt, asked.stream, asked.tail);
    return new StreamableFile(text, { type: 'text/plain; charset=utf-8' });
  }

  private async follow(
    job: JobWithAttempts,
    asked: LogsQuery,
    reply: FastifyReply,
    lastEventId: string | undefined,
  ): Promise<StreamableFile | undefined> {
    const streams = asked.stream === 'both' ? STREAMS : [asked.stream];
    const start = lastEventId === undefined ? await this.start(job, asked, streams) : resumed(lastEventId);
    if (!start) {
      void reply.status(204);
      return undefined;
    }
    const options = { streams, onlyOne: asked.attempt !== undefined, gone: clientGone(reply) };
    return eventStream(reply, this.following.follow(job.id, start, options));
  }

  private async start(
    job: JobWithAttempts,
    asked: LogsQuery,
    streams: readonly StreamName[],
  ): Promise<FollowStart> {
    const attempt = await this.attempt(job, asked.attempt);
    const start = beginningOf(Math.max(1, attempt.attempt));
    if ((asked.from ?? (asked.tail === undefined ? 'start' : 'tail')) === 'start') return start;
    const places: Partial<Record<StreamName, number>> = {};
    for (const stream of streams) {
      const end = await this.logs.end(attempt, stream);
      places[stream] = Math.max(0, end - (asked.tail ?? DEFAULT_TAIL));
    }
    return { ...start, ...places, midway: true };
  }

  /** @throws {Problem} 404 */
  private async attempt(job: JobWithAttempts, number: number | undefined): Promise<LoggedAttempt> {
    const latest = job.last ?? { job_id: job.id, attempt: job.attempt, stdout: null, stderr: null };
    if (number === undefined || number === job.attempt) return latest;
    const attempt = await this.logs.attempt(job.id, number);
    if (attempt) return attempt;
    throw new Problem(
      404,
      'not_found',
      `The job has no attempt ${number}; it has been given to a worker ${job.attempt} times.`,
    );
  }

  private async *both(attempt: LoggedAttempt, tail: number | undefined): AsyncGenerator<Buffer> {
    for (const stream of STREAMS) {
      yield Buffer.from(`==> ${stream} <==\n`);
      let last: Buffer | undefined;
      for await (const chunk of await this.logs.read(attempt, stream, tail)) yield (last = chunk as Buffer);
      if (last && last.at(-1) !== 0x0a) yield Buffer.from('\n');
      const summary = attempt[stream];
      if (summary?.cut) {
        yield Buffer.from(`[cut: the command wrote more than the ${summary.bytes} bytes that are kept]\n`);
      }
    }
  }
}

/** Where a client was that comes back; undefined when it was at the end. @throws {Problem} 422 */
function resumed(lastEventId: string): FollowStart | undefined {
  const place = parsePlaceId(lastEventId);
  if (!place) {
    const message = 'the header Last-Event-ID is not the id of an event of these logs; leave it out';
    throw new Problem(422, 'invalid_request', `The request is not valid: ${message}.`, {
      errors: [{ path: 'Last-Event-ID', message }],
    });
  }
  return place.isEnd ? undefined : { ...place, known: true, midway: false };
}
