import path from 'node:path';
import type { StandaloneConfig } from './standalone.config.js';

/** What somebody needs to know who started it for the first time. */
export function greeting(url: string, { folder, gateway, worker, logFile }: StandaloneConfig): string {
  const here = (file: string) => shown(path.relative(process.cwd(), file), file);
  const keyFile = gateway.adminKey === undefined ? here(gateway.adminKeyFile ?? '') : undefined;
  const key = keyFile === undefined ? '$LABHAND_ADMIN_KEY' : `$(cat ${keyFile})`;
  const queues = Object.entries(worker.queues).map(([queue, slots]) => `${queue} with ${slots} slots`);
  return `
Labhand is ready.

  Address   ${url}
  API       ${url}/docs
  Key       ${keyFile ?? 'the one in LABHAND_ADMIN_KEY'}
  Queues    ${queues.join(', ')}
  Data      ${here(folder)}
  Log       ${here(logFile)}

Try it from another terminal:

  curl -s -H "Authorization: Bearer ${key}" -H 'Content-Type: application/json' -H 'Prefer: wait=30' \\
    -d '{"command": ["echo", "Hello from Labhand"]}' ${url}/v1/jobs

  npm run example      a real job: the contacts of a protein

Ctrl-C stops it; what was submitted stays.
`;
}

/** The shorter way to name a file. */
function shown(relative: string, absolute: string): string {
  return relative === '' || relative.startsWith('..') ? absolute : relative;
}
