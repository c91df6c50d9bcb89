import { bullMq } from './bullmq.js';
import { celery } from './celery.js';
import { median, type Figure } from './figures.js';
import type { House } from './house.js';
import { times, type Part, type Scale } from './part.js';
import type { Peer, Worked } from './peer.js';
import { JOBS, JOBS_END_TO_END, SLOTS, WARM_UP } from './throughput.js';

const SINGLE = 200;
const PEERS: readonly Peer[] = [bullMq, celery];

/** What each peer is, and why it is not measured, as far as it is not. */
const descriptions = new Map<Peer, string>();
const absences = new Map<Peer, string>();

/** The work of `throughput` by others, in the same round and on the same machine. */
export const peers: Part = {
  async prepare(house) {
    for (const peer of PEERS) {
      await unlessAbsent(peer, async () => void descriptions.set(peer, await peer.install(house)));
    }
  },

  async measure(house, scale) {
    const figures: Figure[] = [];
    for (const peer of PEERS) {
      await unlessAbsent(peer, async () => void figures.push(...(await figuresOf(peer, house, scale))));
    }
    return figures;
  },

  notes() {
    return PEERS.flatMap((peer) => {
      const absence = absences.get(peer);
      const description = descriptions.get(peer);
      return [
        ...(description ? [`Beside Labhand: ${description}.`] : []),
        ...(absence ? [`${peer.name} is not in the table, or not in every round: ${absence}`] : []),
      ];
    });
  },
};

async function figuresOf(peer: Peer, house: House, scale: Scale): Promise<Figure[]> {
  const [warmUp, jobs, single] = [WARM_UP, JOBS, SINGLE].map((count) => times(count, scale));
  const work = { warmUp: warmUp!, jobs: jobs!, single: single!, slots: SLOTS };
  const { seconds, latencies }: Worked = await peer.work(house, work);
  return [
    {
      name: `${peer.name}: the same jobs`,
      unit: 'jobs/s',
      value: work.jobs / seconds,
      bound: { atMost: 1, of: JOBS_END_TO_END },
    },
    { name: `${peer.name}: submit to result, idle, median`, unit: 'ms', value: median(latencies) },
  ];
}

/** A peer that cannot be had or does not work is told of once, and the bench goes on without it. */
async function unlessAbsent(peer: Peer, work: () => Promise<void>): Promise<void> {
  if (absences.has(peer)) return;
  await work().catch((error: Error) => void absences.set(peer, error.message.split('\n')[0]!));
}
