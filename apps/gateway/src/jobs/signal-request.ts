import { z } from 'zod';
import { didYouMean } from '#shared/config/nearest-name.js';
import {
  SENDABLE_SIGNALS,
  SIGNAL_TARGETS,
  STOPPING_SIGNALS,
  type SendableSignal,
} from '#shared/job/signals.js';

/** `usr1` and `SIGUSR1` are the same. */
const signalName = z
  .string()
  .transform((text, context): SendableSignal => {
    const name = `SIG${text.trim().toUpperCase().replace(/^SIG/, '')}`;
    const known = SENDABLE_SIGNALS.find((it) => it === name);
    if (known) return known;
    context.addIssue({ code: 'custom', message: refusal(text, name) });
    return z.NEVER;
  })
  .meta({ description: 'Its name, with or without SIG', example: 'SIGUSR1' });

export const signalRequest = z.strictObject({
  signal: signalName,
  target: z
    .enum(SIGNAL_TARGETS)
    .default('main')
    .describe(
      '`main`: the process that was started; `group`: its process group, as Ctrl-C in a terminal does',
    ),
});

function refusal(text: string, name: string): string {
  if (name === 'SIGCONT') return 'a job goes on by "resume", which counts its time again';
  if ((STOPPING_SIGNALS as readonly string[]).includes(name)) {
    return 'a job is stopped by "pause", which stops all of it and its wall time too';
  }
  const hint = didYouMean(name, SENDABLE_SIGNALS) || `; known are ${SENDABLE_SIGNALS.join(', ')}`;
  return `there is no signal ${JSON.stringify(text.slice(0, 40))} that can be sent${hint}`;
}
