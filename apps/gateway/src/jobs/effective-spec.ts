import { LIMIT_NAMES, type JobSpec, type Limits, type QueueSettings } from '#shared/job/job-spec.js';
import { strongerIsolation } from '#shared/job/requirements.js';
import type { AttemptLimits } from '#shared/messages/messages.js';
import { Problem } from '../http/problem.js';
import type { EffectiveSpec } from './job-row.js';

/** What holds where neither job nor queue says otherwise: seconds and bytes. */
const DEFAULT_LIMITS: AttemptLimits = { wallTime: 3600, killGrace: 10, output: 256 * 2 ** 20 };
const DEFAULT_RETRY = { tries: 1, backoff: 10, backoffMax: 3600, jitter: 0 };

/** How failures around a command are made good where neither job nor queue says otherwise. */
export type InfrastructureRetry = EffectiveSpec['retry']['infrastructure'];

/** The script that a job brings instead of a command. */
export const SCRIPT = 'run.sh';

/**
 * The submission with the queue's defaults worked in, so that a claim needs nothing but the job's row.
 * @param paths of all input files, those inside archives too
 * @param infrastructure the gateway's allowance
 * @throws {Problem} 422 where the queue does not allow what the job asks for
 */
export function effectiveSpec(
  job: JobSpec,
  queue: QueueSettings,
  paths: ReadonlySet<string>,
  infrastructure: InfrastructureRetry,
): EffectiveSpec {
  if (queue.policy === 'fixed' && job.env) {
    throw refusal('env', `the queue ${job.queue} takes only data and arguments; leave out "env"`);
  }
  const isolation = strongerIsolation(job.isolation, queue.isolation);
  return {
    command: command(job, queue, paths),
    env: { ...queue.env, ...job.env },
    outputs: job.outputs ?? queue.outputs ?? ['**'],
    limits: effectiveLimits(job.limits ?? {}, queue),
    ...(isolation ? { isolation } : {}),
    onOutputLimit: queue.onOutputLimit,
    ...(queue.keepFullOutput ? { keepFullOutput: true } : {}),
    retry: {
      ...DEFAULT_RETRY,
      ...queue.retry,
      ...job.retry,
      infrastructure: {
        ...infrastructure,
        ...queue.retry?.infrastructure,
        ...job.retry?.infrastructure,
      },
    },
  };
}

function command(job: JobSpec, queue: QueueSettings, paths: ReadonlySet<string>): string[] {
  const args = job.args ?? [];
  const script = ['/bin/sh', SCRIPT, ...args];
  if (queue.policy !== 'any' && job.command) {
    const instead = queue.policy === 'script' ? `send a file ${SCRIPT}` : 'send "args"';
    throw refusal(
      'command',
      `the queue ${job.queue} does not let jobs choose the command; ${instead} instead`,
    );
  }
  if (queue.policy === 'script') {
    if (paths.has(SCRIPT)) return script;
    throw refusal(
      'inputs',
      `the queue ${job.queue} runs the file ${SCRIPT} of the job, and there is none; add it`,
    );
  }
  const chosen = job.command ?? queue.command;
  if (chosen) return [...chosen, ...args];
  if (queue.policy === 'any' && paths.has(SCRIPT)) return script;
  throw refusal(
    'command',
    `the job has no command and the queue ${job.queue} has none of its own; give "command", or an input file ${SCRIPT}`,
  );
}

function effectiveLimits(
  asked: Limits,
  { limits: defaults, maxLimits: most = {} }: QueueSettings,
): AttemptLimits {
  const wanted: Limits = { ...DEFAULT_LIMITS, ...defaults, ...asked };
  const decided = Object.fromEntries(
    LIMIT_NAMES.map((name) => {
      if (!exceeds(wanted[name], most[name])) return [name, wanted[name]];
      if (asked[name] === undefined) return [name, most[name]];
      throw refusal(`limits.${name}`, tooMuch(asked[name], most[name]));
    }).filter(([, value]) => value !== undefined),
  ) as Limits;
  const { network, ...numbers } = decided;
  return { ...(numbers as AttemptLimits), ...(network === false ? { network } : {}) };
}

/** Whether a job would get more than the queue allows; without a limit that is all there is. */
function exceeds(wanted: number | boolean | undefined, most: number | boolean | undefined): boolean {
  if (most === undefined || most === true) return false;
  if (most === false) return wanted !== false;
  return wanted === undefined || Number(wanted) > most;
}

function tooMuch(asked: number | boolean, most: number | boolean | undefined): string {
  return most === false
    ? 'the queue allows no network; leave it out'
    : `${asked} is more than the ${most} that the queue allows; ask for less`;
}

function refusal(path: string, message: string): Problem {
  return new Problem(422, 'invalid_request', `The job is not valid: ${path}: ${message}.`, {
    errors: [{ path, message }],
  });
}
