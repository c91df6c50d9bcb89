import { NoTurnError, Turns } from './turns.js';

const never = new AbortController().signal;

describe('Turns', () => {
  let now: number;

  beforeEach(() => {
    now = 1000;
    jest.useFakeTimers({ now: 0, doNotFake: ['nextTick', 'queueMicrotask'] });
    jest.spyOn(performance, 'now').mockImplementation(() => now);
  });
  afterEach(() => {
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  async function run(turns: Turns, ms: number): Promise<void> {
    await turns.take(never);
    now += ms;
    turns.over();
  }

  it('come one at a time, in the order in which they are asked for', async () => {
    const turns = new Turns();
    const begun: number[] = [];
    await turns.take(never);
    const others = [1, 2].map((nth) => turns.take(never).then(() => begun.push(nth)));
    turns.over();
    await others[0];
    expect(begun).toEqual([1]);
    turns.over();
    await Promise.all(others);
    expect(begun).toEqual([1, 2]);
  });

  it('are short after four short commands in a row, until one is not', async () => {
    const turns = new Turns();
    for (let short = 0; short < 3; short++) await run(turns, 25);
    expect(turns.areShort).toBe(false);
    await run(turns, 25);
    expect(turns.areShort).toBe(true);
    await run(turns, 26);
    expect(turns.areShort).toBe(false);
  });

  it('are not waited for longer than short commands take, and are not short then', async () => {
    const turns = new Turns();
    for (let short = 0; short < 4; short++) await run(turns, 1);
    await turns.take(never);
    const waits = turns.take(never);
    jest.advanceTimersByTime(249);
    expect(turns.areShort).toBe(true);
    jest.advanceTimersByTime(1);
    await expect(waits).rejects.toThrow(NoTurnError);
    expect(turns.areShort).toBe(false);
    turns.over();
    await turns.take(never);
  });

  it('go to the next one when a job is ended while it waits', async () => {
    const turns = new Turns();
    const canceled = new AbortController();
    await turns.take(never);
    const [ended, next] = [turns.take(canceled.signal), turns.take(never)];
    canceled.abort(new Error('canceled'));
    await expect(ended).rejects.toThrow('canceled');
    await expect(turns.take(canceled.signal)).rejects.toThrow('canceled');
    turns.over();
    await next;
  });

  it('are refused to all who wait once nothing more may begin', async () => {
    let draining = false;
    const turns = new Turns(() => !draining);
    await turns.take(never);
    const waiting = [turns.take(never), turns.take(never)];
    draining = true;
    turns.over();
    for (const waits of waiting) await expect(waits).rejects.toThrow(NoTurnError);
  });
});
