import type { JobSpec, Limits, QueueSettings } from '#shared/job/job-spec.js';
import type { AttemptLimits } from '#shared/messages/messages.js';
import { Problem } from '../http/problem.js';
import type { EffectiveSpec } from './job-row.js';

/** What holds where neither job nor queue says otherwise: seconds and bytes. */
const DEFAULT_LIMITS: AttemptLimits = { wallTime: 3600, killGrace: 10, output: 256 * 2 ** 20 };
const DEFAULT_BACKOFF = 10;

/** The script that a job brings instead of a command. */
export const SCRIPT = 'run.sh';

/**
 * The submission with the queue's defaults worked in, so that a claim needs nothing but the job's row.
 * @param paths of all input files, those inside archives too
 * @throws {Problem} 422 where the queue does not allow what the job asks for
 */
export function effectiveSpec(job: JobSpec, queue: QueueSettings, paths: ReadonlySet<string>): EffectiveSpec {
  if (queue.policy === 'fixed' && job.env) {
    throw refusal('env', `the queue ${job.queue} takes only data and arguments; leave out "env"`);
  }
  return {
    command: command(job, queue, paths),
    env: { ...queue.env, ...job.env },
    outputs: job.outputs ?? queue.outputs ?? ['**'],
    limits: effectiveLimits(job.limits ?? {}, queue),
    onOutputLimit: queue.onOutputLimit,
    retry: {
      tries: job.retry?.tries ?? queue.retry?.tries ?? 1,
      backoff: job.retry?.backoff ?? queue.retry?.backoff ?? DEFAULT_BACKOFF,
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
  { limits: defaults = {}, maxLimits = {} }: QueueSettings,
): AttemptLimits {
  const value = (name: keyof AttemptLimits): number => {
    const most = maxLimits[name] ?? Infinity;
    const wanted = asked[name];
    if (wanted !== undefined && wanted > most) {
      throw refusal(
        `limits.${name}`,
        `${wanted} is more than the ${most} that the queue allows; ask for less`,
      );
    }
    return wanted ?? Math.min(defaults[name] ?? DEFAULT_LIMITS[name], most);
  };
  return { wallTime: value('wallTime'), killGrace: value('killGrace'), output: value('output') };
}

function refusal(path: string, message: string): Problem {
  return new Problem(422, 'invalid_request', `The job is not valid: ${path}: ${message}.`, {
    errors: [{ path, message }],
  });
}
