import { LiveBudget } from './live-budget.js';

const CHUNK = 64 * 1024;

describe('what is sent of logs while commands run', () => {
  let time: number;
  let budget: LiveBudget;
  beforeEach(() => {
    time = 0;
    budget = new LiveBudget(() => time);
  });

  it('is all of it while there is little', () => {
    expect(budget.take(CHUNK)).toBe(CHUNK);
    expect(budget.take(100)).toBe(100);
  });

  it('is bounded by the second however many ask', () => {
    const drawn = () => Array.from({ length: 200 }, () => budget.take(CHUNK)).reduce((sum, n) => sum + n, 0);
    drawn();
    let sum = 0;
    for (let tick = 0; tick < 10; tick++) {
      time += 100;
      sum += drawn();
    }
    // Four MiB, and the few lines that each of them may always send.
    expect(sum).toBeGreaterThan(3 * 2 ** 20);
    expect(sum).toBeLessThanOrEqual(4 * 2 ** 20 + 10 * 200 * 1024);
  });

  it('leaves a few lines for the quiet beside a flood', () => {
    for (let n = 0; n < 1000; n++) budget.take(CHUNK);
    expect(budget.take(300)).toBe(300);
  });

  it('does not save up without end', () => {
    time = 1e9;
    expect(budget.take(2 ** 30)).toBe(2 ** 19);
  });
});
