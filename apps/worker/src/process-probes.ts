import { join } from 'node:path';
import type { Probe } from './probe.js';

const KIBI = 1024;
const MEBI = KIBI * KIBI;
const REST = 'while :; do sleep 60; done';

/** What every launcher can do. */
export const COMMON_PROBES: readonly Probe[] = [
  {
    word: 'limit:idleTime',
    limits: { idleTime: 0.03 },
    script: REST,
    shows: ({ cause }) => cause === 'idle',
  },
  {
    word: 'limit:disk',
    limits: { disk: 64 * KIBI },
    script: `head -c ${MEBI} /dev/zero > file; ${REST}`,
    shows: ({ cause }) => cause === 'disk',
  },
];

/**
 * What the C launcher does in the process of a job.
 * @param secret numbers of processes that no job may look into
 * @param uid of the jobs; undefined: the worker's
 */
export function processProbes(secret: readonly number[], uid: number | undefined): readonly Probe[] {
  return [
    {
      word: 'isolation:process',
      limits: { isolation: 'process' },
      attempt: ({ directory, outside, file, secret: hidden }) => [
        'leave',
        directory,
        outside,
        file,
        hidden,
        ...secret.map(String),
      ],
      shows: (_result, output) =>
        output === `write its own folder\nuser ${uid ?? process.geteuid?.() ?? 0}\n`,
    },
    {
      word: 'limit:network',
      limits: { network: false },
      attempt: () => ['sockets'],
      shows: (_result, output) => output === 'unix\n',
    },
    {
      word: 'limit:openFiles',
      limits: { openFiles: 16 },
      attempt: () => ['open', '32'],
      shows: (_result, output) => output === '16\n',
    },
    {
      word: 'limit:fileSize',
      limits: { fileSize: 128 * KIBI },
      attempt: ({ directory }) => ['fill', join(directory, 'file'), String(MEBI)],
      shows: ({ signal }) => signal === 'SIGXFSZ',
    },
    {
      word: 'limit:memory',
      limits: { memory: 32 * MEBI },
      attempt: () => ['allocate', String(64 * MEBI)],
      shows: ({ cause, exitCode }, output) =>
        output === '' && (cause === 'out_of_memory' || (cause === 'exit' && exitCode === 0)),
    },
    {
      word: 'limit:processes',
      limits: { processes: 8 },
      attempt: () => ['children', '32'],
      shows: (_result, output) => Number(output) > 1 && Number(output) <= 8,
    },
  ];
}
