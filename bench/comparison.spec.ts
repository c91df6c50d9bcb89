import { comparison } from './comparison.js';
import type { House } from './house.js';
import type { Peer, Work } from './peer.js';

/** Peers of these tests use nothing of it. */
const house = {} as House;
const scale = { quick: true };

const working: Peer = {
  name: 'one that works',
  install: async () => 'one that works 1.0',
  work: async () => ({ seconds: 2, latencies: [3, 1, 2] }),
};

it('a peer does as much as Labhand, after as much to warm up', async () => {
  const given: Work[] = [];
  const work: Peer['work'] = async (_house, asked) => {
    given.push(asked);
    return working.work(house, asked);
  };
  const part = comparison([{ ...working, work }]);
  await part.prepare!(house, scale);
  const [speed, latency] = await part.measure(house, { quick: false });
  expect(given).toEqual([{ warmUp: 6000, jobs: 2000, single: 200, slots: 4 }]);
  expect([speed!.value, latency!.value]).toEqual([1000, 2]);
  expect(part.notes!()).toEqual(['Beside Labhand: one that works 1.0.']);
});

it('a peer that cannot be had is named with the reason, and the others are measured', async () => {
  const install = () => Promise.reject(new Error('its registry does not answer\nat length'));
  const work = () => Promise.reject(new Error('it was not asked for'));
  const part = comparison([{ name: 'one that is not there', install, work }, working]);
  await part.prepare!(house, scale);
  const figures = await part.measure(house, scale);
  expect(figures.map(({ name }) => name)).toEqual([
    'one that works: the same jobs',
    'one that works: submit to result, idle, median',
  ]);
  expect(part.notes!()[0]).toMatch(
    /^one that is not there is not in the table.*: its registry does not answer$/,
  );
});

it('a peer that fails in a round is left out of it and of the later ones', async () => {
  let asked = 0;
  const work: Peer['work'] = () => {
    asked++;
    return Promise.reject(new Error('it broke'));
  };
  const part = comparison([{ ...working, work }]);
  await part.prepare!(house, scale);
  await part.measure(house, scale);
  expect(await part.measure(house, scale)).toEqual([]);
  expect(asked).toBe(1);
  expect(part.notes!()).toContainEqual(expect.stringMatching(/: it broke$/));
});
