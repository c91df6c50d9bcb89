import { gate } from '../../../../test/support/signals.js';
import { Batcher } from './batcher.js';

describe('Batcher', () => {
  it('answers together what arrives in one turn, and what arrives while that is under way in one further batch', async () => {
    const batches: number[][] = [];
    const underWay = gate();
    const batcher = new Batcher<number, number>(async (items) => {
      batches.push(items);
      underWay.open();
      await new Promise(setImmediate);
      return items.map((item) => item * 2);
    });
    const first = [1, 2].map((item) => Promise.resolve().then(() => batcher.add(item)));
    await underWay.opened;
    const second = [3, 4].map((item) => batcher.add(item));
    expect(await Promise.all([...first, ...second])).toEqual([2, 4, 6, 8]);
    expect(batches).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('a bad item fails alone', async () => {
    const batcher = new Batcher<number, number>(async (items) => {
      await new Promise(setImmediate);
      if (items.includes(3)) throw new Error('three');
      return items;
    });
    const results = await Promise.allSettled([1, 2, 3, 4].map((item) => batcher.add(item)));
    expect(results.map((result) => result.status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });

  it('goes on after a failure', async () => {
    let fail = true;
    const batcher = new Batcher<number, number>(async (items) => {
      if (fail) throw new Error('down');
      return items;
    });
    await expect(batcher.add(1)).rejects.toThrow('down');
    fail = false;
    await expect(batcher.add(2)).resolves.toBe(2);
  });
});
