import { quantile, type Figure } from './figures.js';
import type { RunningGateway } from './house.js';
import { peakResidentMiB, residentMiB } from './memory.js';
import { times, type Part, type Scale } from './part.js';

const LINES = 200;
/** Milliseconds between two lines: no multiple of anything that the worker does. */
const PAUSE_MS = 53;
const SHORT_JOBS = 50;
const FLOOD_BYTES = 100_000_000;

/** From a write in a job to its receipt by a client that follows the job's log. */
export const live: Part = {
  async measure(house, scale) {
    const gateway = await house.startGateway();
    await house.startWorker(gateway, 4);
    await measureShort(gateway, 5);
    const figures = [
      ...lag('line in a running job to its reader', await measureLong(gateway, scale)),
      ...lag('output of a short job to its reader', await measureShort(gateway, times(SHORT_JOBS, scale))),
      await flood(gateway),
    ];
    gateway.client.close();
    await house.clear();
    return figures;
  },
};

function lag(name: string, took: readonly number[]): Figure[] {
  return [
    { name: `${name}, median`, unit: 'ms', value: quantile(took, 0.5), bound: { atMost: 250 } },
    { name: `${name}, 99th percentile`, unit: 'ms', value: quantile(took, 0.99) },
  ];
}

/** Lines that say when they were written. */
async function measureLong({ client }: RunningGateway, scale: Scale): Promise<number[]> {
  const lines = times(LINES, scale);
  const script = `let n = 0; const write = () => { process.stdout.write(Date.now() + '\\n');
    if (++n < ${lines}) setTimeout(write, ${PAUSE_MS}); }; write();`;
  const { id } = await client.submit({ command: [process.execPath, '-e', script] });
  return lagsOf(client.follow(id));
}

/** Commands that write once and are over. */
async function measureShort({ client }: RunningGateway, jobs: number): Promise<number[]> {
  const took: number[] = [];
  for (let n = 0; n < jobs; n++) {
    const { id } = await client.submit({ command: ['date', '+%s%3N'] });
    took.push(...(await lagsOf(client.follow(id))));
  }
  return took;
}

async function lagsOf(events: ReturnType<RunningGateway['client']['follow']>): Promise<number[]> {
  const took: number[] = [];
  for await (const { event, data } of events) {
    if (event !== 'stdout') continue;
    const now = Date.now();
    for (const line of (data.text ?? '').split('\n')) if (line !== '') took.push(now - Number(line));
  }
  return took;
}

/** How much larger the gateway becomes at its worst when a job writes as fast as it can and is followed. */
async function flood({ client, program }: RunningGateway): Promise<Figure> {
  const before = residentMiB(program.pid);
  const { id } = await client.submit({
    command: ['sh', '-c', `yes 0123456789 | head -c ${FLOOD_BYTES}; sleep 1`],
    outputs: ['!**'],
  });
  for await (const { event } of client.follow(id)) if (event === 'end') break;
  return {
    name: 'gateway grows by, 100 MB of output',
    unit: 'MiB',
    value: peakResidentMiB(program.pid) - before,
    bound: { atMost: 60 },
  };
}
