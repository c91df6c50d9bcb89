import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Requirement } from '#shared/job/requirements.js';
import type { LaunchOrder, LaunchResult, Launcher } from './launcher.js';

/** A job that shows whether something is enforced on this host: by what it could not do, not by what was accepted. */
export interface Probe {
  readonly word: Requirement;
  readonly limits: Partial<LaunchOrder>;
  /** For /bin/sh, which stands in every image. `$SECRET` is a file of the worker's, `$OUTSIDE` a folder of its, `$DIRECTORY` the job's. */
  readonly script?: string;
  /** Instead, what the C launcher's own probe program does (launcher/probe.c): what a shell cannot. */
  readonly attempt?: (place: ProbePlace) => readonly string[];
  shows(result: LaunchResult, output: string): boolean;
}

/** Where a probe's job is let loose. */
export interface ProbePlace {
  /** Its own. */
  readonly directory: string;
  /** Of the worker: a folder, and a file in it. */
  readonly outside: string;
  readonly file: string;
  /** Of the worker, in a hidden folder. */
  readonly secret: string;
}

/** Seconds after which a probe that hangs has shown nothing. */
const PATIENCE = 10;

/**
 * Runs the probe's job. Resolves with undefined when it showed the effect, else with why not.
 * @param folder empty, the worker's own, not in /tmp where it can be helped: there other things are hidden already
 */
export async function findFault(
  probe: Probe,
  launcher: Launcher,
  folder: string,
): Promise<string | undefined> {
  const place = makePlace(folder);
  const stdout = place.secret;
  const own = probe.attempt && [launcher.probeProgram ?? '', 'probe', ...probe.attempt(place)];
  try {
    const result = await launcher.start({
      id: `probe ${probe.word}`,
      command: own ?? ['/bin/sh', '-c', probe.script ?? ''],
      env: {
        PATH: '/usr/local/bin:/usr/bin:/bin',
        SECRET: stdout,
        OUTSIDE: place.outside,
        DIRECTORY: place.directory,
      },
      directory: place.directory,
      stdout,
      stderr: `${stdout}.err`,
      wallTime: PATIENCE,
      killGrace: 0,
      writable: [place.directory],
      hidden: [join(folder, 'hidden')],
      ...probe.limits,
    }).ended;
    if (result.cause === 'spawn_error') return result.error ?? 'it could not be started';
    const output = readFileSync(stdout, 'utf8');
    return probe.shows(result, output) ? undefined : `no effect was seen: ${seen(result, output)}`;
  } catch (error) {
    // The launcher died of it.
    return (error as Error).message;
  }
}

function makePlace(folder: string): ProbePlace {
  const [directory, hidden, outside] = ['work', 'hidden', 'outside'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  // Ways in for another user: what keeps a job out must not be these.
  for (const each of [folder, directory, hidden, outside]) mkdirSync(each, { recursive: true, mode: 0o711 });
  const file = join(outside, 'file');
  writeFileSync(file, 'of the worker\n', { mode: 0o600 });
  return { directory, outside, file, secret: join(hidden, 'stdout') };
}

function seen({ cause, exitCode, signal }: LaunchResult, output: string): string {
  const told = output.trim().replaceAll('\n', ', ').slice(0, 200);
  return [cause, exitCode ?? signal, told].filter((part) => part !== '').join(', ');
}
