import { AttemptEnded, Attempts, attemptKey, parseAttemptKey } from './attempts.js';
import type { ProcessTree } from './launcher.js';

const ref = { jobId: '00000000-0000-4000-8000-000000000001', attempt: 12 };

function tree(): ProcessTree & { orders: string[] } {
  const orders: string[] = [];
  return {
    orders,
    ended: new Promise(() => {}),
    end: () => orders.push('end'),
    kill: () => orders.push('kill'),
    pause: () => Promise.resolve(orders.push('pause') > 0),
    resume: () => Promise.resolve(orders.push('resume') > 0),
    signal: (name) => orders.push(name),
  };
}

describe('held attempts', () => {
  it('are found until they are let go', () => {
    const attempts = new Attempts();
    const held = attempts.hold(ref);
    expect(attempts.find({ ...ref })).toBe(held);
    expect(attempts.find({ ...ref, attempt: 11 })).toBeUndefined();
    attempts.letGo(held);
    expect(attempts.all()).toEqual([]);
  });

  it('a cancel stops the run but not the report', () => {
    const held = new Attempts().hold(ref);
    const processes = tree();
    held.runs(processes);
    held.end('cancel');
    expect(processes.orders).toEqual(['end']);
    expect(held.stopped.reason).toEqual(new AttemptEnded('cancel'));
    expect(held.taken.aborted).toBe(false);
  });

  it('a cancel after the command comes too late, losing the job does not', () => {
    const held = new Attempts().hold(ref);
    held.commandIsOver();
    held.end('cancel');
    expect(held.stopped.aborted).toBe(false);
    held.end('abandon');
    expect(held.taken.reason).toEqual(new AttemptEnded('abandon'));
  });

  it('a command that starts after the end was ordered is ended', () => {
    const held = new Attempts().hold(ref);
    held.end('drain');
    const processes = tree();
    held.runs(processes);
    expect(processes.orders).toEqual(['end']);
  });

  it('have a name for their folders that can be read back', () => {
    expect(parseAttemptKey(attemptKey(ref))).toEqual(ref);
    for (const name of ['lost+found', ref.jobId, `${ref.jobId}-0`, `${ref.jobId}-1x`]) {
      expect(parseAttemptKey(name)).toBeUndefined();
    }
  });
});
