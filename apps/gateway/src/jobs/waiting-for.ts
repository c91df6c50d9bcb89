import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { wordsOf } from '#shared/job/requirements.js';
import { Database } from '../database/database.js';
import { GATEWAY_CONFIG, type GatewayConfig } from '../gateway.config.js';
import { goneAfter } from '../workers/gone-after.js';
import type { JobRow } from './job-row.js';

export const waitingFor = z.object({
  what: z
    .enum(['release', 'delay', 'worker', 'cap', 'slot'])
    .describe(
      '`release`: it is held; `delay`: its time has not come; `worker`: none that may take it is there; `cap`: its owner runs as many as the queue allows; `slot`: its turn',
    ),
  message: z.string().describe('The same as a sentence'),
});
export type WaitingFor = z.infer<typeof waitingFor>;

/** More are not counted. */
const MOST_AHEAD = 1000;

const SITUATION = `
  SELECT there.workers, there.able, lane.cap, lane.taken,
    (SELECT count(*)::integer FROM (
       SELECT FROM jobs o WHERE o.queue = j.queue AND o.owner = j.owner AND o.ready
         AND (o.priority > j.priority OR (o.priority = j.priority AND o.id < j.id)) LIMIT ${MOST_AHEAD}) AS o) AS ahead
  FROM jobs j
  LEFT JOIN lanes lane ON lane.queue = j.queue AND lane.owner = j.owner AND lane.requires = j.requires
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS workers, (count(*) FILTER (WHERE j.requires & ~w.enforces = 0))::integer AS able
    FROM workers w WHERE w.queues ? j.queue AND w.heard_at > now() - make_interval(secs => $2)
      AND NOT w.draining AND NOT w.drain_requested) AS there
  WHERE j.id = $1`;

interface Situation {
  /** Of its queue, and of these the ones that may take it. */
  readonly workers: number;
  readonly able: number;
  readonly cap: number | null;
  readonly taken: number | null;
  /** Jobs of its owner that go first. */
  readonly ahead: number;
}

type Waiting = Pick<JobRow, 'id' | 'state' | 'ready' | 'queue' | 'requires' | 'available_at'>;

/** Why a job does not run yet. */
@Injectable()
export class WaitingReasons {
  constructor(
    private readonly database: Database,
    @Inject(GATEWAY_CONFIG) private readonly config: GatewayConfig,
  ) {}

  /** Undefined for a job that does not wait. */
  async of(job: Waiting): Promise<WaitingFor | undefined> {
    if (job.state === 'held') return { what: 'release', message: 'It is held until somebody releases it.' };
    if (job.state !== 'queued') return undefined;
    if (!job.ready) {
      const time = new Date(job.available_at).toISOString();
      return { what: 'delay', message: `It may run from ${time} on.` };
    }
    const situation = await this.database.one<Situation>(SITUATION, [job.id, goneAfter(this.config)]);
    return situation && reasonOf(job, situation);
  }
}

function reasonOf({ queue, requires }: Waiting, { workers, able, cap, taken, ahead }: Situation): WaitingFor {
  if (able === 0) return { what: 'worker', message: workerSentence(queue, wordsOf(requires), workers) };
  if (cap !== null && taken !== null && taken >= cap) {
    return {
      what: 'cap',
      message: `Its owner has ${jobs(taken)} running in the queue ${queue}, which allows ${cap} at once.`,
    };
  }
  const others = `${ahead === MOST_AHEAD ? 'at least ' : ''}${jobs(ahead)}`;
  const first = ahead === 0 ? "it is the next of its owner's" : `${others} of its owner go first`;
  return { what: 'slot', message: `It waits for a free slot of the queue ${queue}; ${first}.` };
}

const jobs = (count: number) => (count === 1 ? '1 job' : `${count} jobs`);

function workerSentence(queue: string, words: readonly string[], workers: number): string {
  const there =
    workers === 0
      ? 'none of that queue is there'
      : `${workers} of that queue ${workers === 1 ? 'is' : 'are'} there and cannot`;
  return words.length === 0
    ? `It waits for a worker of the queue ${queue}; none is there.`
    : `It waits for a worker of the queue ${queue} that enforces ${words.join(', ')}; ${there}.`;
}
