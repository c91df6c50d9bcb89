import { Logger } from '@nestjs/common';
import { Chore } from './chore.js';

const FAR_OFF_MS = 3_600_000;

/** Rounds that the test ends by hand. */
class Rounds {
  begun = 0;
  underWay = 0;
  private waiting: { count: number; resolve: () => void }[] = [];
  private gate: (() => void)[] = [];

  readonly work = async () => {
    if (++this.underWay > 1) throw new Error('two rounds at once');
    this.begun++;
    this.waiting.filter(({ count }) => count <= this.begun).forEach(({ resolve }) => resolve());
    await new Promise<void>((resolve) => this.gate.push(resolve));
    this.underWay--;
  };

  end() {
    this.gate.shift()!();
  }

  async hasBegun(count: number) {
    if (this.begun >= count) return;
    await new Promise<void>((resolve) => this.waiting.push({ count, resolve }));
  }
}

describe('a chore', () => {
  it('does a round when it starts and answers all nudges during a round with one more', async () => {
    const rounds = new Rounds();
    const chore = new Chore('test', FAR_OFF_MS, rounds.work);
    chore.start();
    await rounds.hasBegun(1);
    chore.nudge();
    chore.nudge();
    chore.nudge();
    expect(rounds.begun).toBe(1);
    rounds.end();
    await rounds.hasBegun(2);
    const stopped = chore.stop();
    rounds.end();
    await stopped;
    expect(rounds.begun).toBe(2);
  });

  it('goes on by itself, at once when a round asks for that', async () => {
    let left = 3;
    await new Promise<void>((resolve) => {
      const chore = new Chore('test', FAR_OFF_MS, async () => {
        if (--left > 0) return 0;
        void chore.stop().then(resolve);
      });
      chore.start();
    });
    expect(left).toBe(0);
  });

  it('survives a round that throws', async () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation();
    let count = 0;
    await new Promise<void>((resolve) => {
      const chore = new Chore('test', 1, async () => {
        if (++count === 1) throw new Error('the database is away');
        void chore.stop().then(resolve);
      });
      chore.start();
    });
    expect(count).toBe(2);
    expect(logged).toHaveBeenCalledTimes(1);
    logged.mockRestore();
  });

  it('waits at its stop for the round under way and begins no other', async () => {
    const rounds = new Rounds();
    const chore = new Chore('test', 1, rounds.work);
    chore.start();
    await rounds.hasBegun(1);
    chore.nudge();
    const underWayAtStop = chore.stop().then(() => rounds.underWay);
    rounds.end();
    expect(await underWayAtStop).toBe(0);
    chore.nudge();
    expect(rounds.begun).toBe(1);
  });

  it('remembers a nudge that came before its start', async () => {
    const rounds = new Rounds();
    const chore = new Chore('test', FAR_OFF_MS, rounds.work);
    chore.nudge();
    expect(rounds.begun).toBe(0);
    chore.start();
    await rounds.hasBegun(1);
    rounds.end();
    await chore.stop();
    expect(rounds.begun).toBe(1);
  });
});
