import { median, type Figure } from './figures.js';
import type { House } from './house.js';
import { times, type Part, type Scale } from './part.js';
import type { Peer } from './peer.js';
import { JOBS, JOBS_END_TO_END, SLOTS, WARM_UP } from './throughput.js';

const SINGLE = 200;

/**
 * The work of `throughput` by each peer, in the same round and on the same machine. A peer that cannot be had or does
 * not work is told of in the notes, and the bench goes on without it.
 */
export function comparison(peers: readonly Peer[]): Part {
  const descriptions = new Map<Peer, string>();
  const absences = new Map<Peer, string>();
  const unlessAbsent = async (peer: Peer, use: () => Promise<void>) => {
    if (absences.has(peer)) return;
    await use().catch((error: Error) => void absences.set(peer, error.message.split('\n')[0]!));
  };
  return {
    async prepare(house) {
      for (const peer of peers) {
        await unlessAbsent(peer, async () => void descriptions.set(peer, await peer.install(house)));
      }
    },

    async measure(house, scale) {
      const figures: Figure[] = [];
      for (const peer of peers) {
        await unlessAbsent(peer, async () => void figures.push(...(await figuresOf(peer, house, scale))));
      }
      return figures;
    },

    notes: () =>
      peers.flatMap((peer) => {
        const [description, absence] = [descriptions.get(peer), absences.get(peer)];
        return [
          ...(description ? [`Beside Labhand: ${description}.`] : []),
          ...(absence ? [`${peer.name} is not in the table, or not in every round: ${absence}`] : []),
        ];
      }),
  };
}

async function figuresOf(peer: Peer, house: House, scale: Scale): Promise<Figure[]> {
  const jobs = times(JOBS, scale);
  const { seconds, latencies } = await peer.work(house, {
    warmUp: times(WARM_UP, scale),
    jobs,
    single: times(SINGLE, scale),
    slots: SLOTS,
  });
  return [
    {
      name: `${peer.name}: the same jobs`,
      unit: 'jobs/s',
      value: jobs / seconds,
      bound: { atMost: 1, of: JOBS_END_TO_END },
    },
    { name: `${peer.name}: submit to result, idle, median`, unit: 'ms', value: median(latencies) },
  ];
}
