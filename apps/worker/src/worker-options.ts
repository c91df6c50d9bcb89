import { parseArgs } from 'node:util';
import { ConfigurationError } from '#shared/config/environment.js';
import { didYouMean } from '#shared/config/nearest-name.js';

export const USAGE = `Usage: worker [run] [--once | --max-jobs N] [--idle-timeout 5m]
       worker health

run      serve the queues of LABHAND_QUEUES until a signal, an operator's drain or one of the options ends it
health   exit with 0 when the worker of this environment is registered and connected, else with 1

  --once              take one job, and exit when it has ended        (LABHAND_MAX_JOBS=1)
  --max-jobs N        take N jobs, and exit when they have ended      (LABHAND_MAX_JOBS=N)
  --idle-timeout 5m   exit when there was nothing to do for so long   (LABHAND_IDLE_TIMEOUT=5m)
  --help              this text

Exit codes
  0   stopped as it was told to, whatever became of the jobs
  1   it could not start, or did not stop cleanly; standard error and the log tell why

All settings are environment variables: see docs/operating.md.
`;

const OPTIONS = {
  once: { type: 'boolean' },
  'max-jobs': { type: 'string' },
  'idle-timeout': { type: 'string' },
  help: { type: 'boolean' },
} as const;

const COMMANDS = ['run', 'health'] as const;

export interface WorkerOptions {
  readonly command: (typeof COMMANDS)[number] | 'help';
  /** What options say goes before the environment. */
  readonly variables: Readonly<Record<string, string>>;
}

/** @throws {ConfigurationError} an option or a command that is not known */
export function readWorkerOptions(args: readonly string[]): WorkerOptions {
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options: OPTIONS,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const faults = tokens.flatMap((token) => (token.kind === 'option' ? (faultOf(token) ?? []) : []));
  const [command = 'run', ...rest] = positionals;
  const known = COMMANDS.find((it) => it === command);
  if (!known) faults.push(`there is no command ${JSON.stringify(command)}${didYouMean(command, COMMANDS)}`);
  if (rest.length > 0) faults.push(`${JSON.stringify(rest[0])} is one word too many`);
  if (values.once && values['max-jobs'] !== undefined)
    faults.push('--once is --max-jobs 1; give one of them');
  if (faults.length > 0) throw new ConfigurationError([...faults, 'worker --help lists what there is']);
  if (values.help) return { command: 'help', variables: {} };
  const maxJobs = values.once ? '1' : values['max-jobs'];
  const idleTimeout = values['idle-timeout'];
  return {
    command: known!,
    variables: {
      ...(typeof maxJobs === 'string' ? { LABHAND_MAX_JOBS: maxJobs } : {}),
      ...(typeof idleTimeout === 'string' ? { LABHAND_IDLE_TIMEOUT: idleTimeout } : {}),
    },
  };
}

function faultOf({
  name,
  rawName,
  value,
}: {
  name: string;
  rawName: string;
  value?: string;
}): string | undefined {
  if (!Object.hasOwn(OPTIONS, name)) {
    return `there is no option ${JSON.stringify(rawName)}${didYouMean(name, Object.keys(OPTIONS))}`;
  }
  const wantsValue = OPTIONS[name as keyof typeof OPTIONS].type === 'string';
  if (wantsValue && !value) return `${rawName} wants a value`;
  return !wantsValue && value !== undefined ? `${rawName} takes no value` : undefined;
}
