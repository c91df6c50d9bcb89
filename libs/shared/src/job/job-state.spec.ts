import { FINAL_STATES, JOB_MOVES, JOB_STATES, isFinal, mayMove } from './job-state.js';

describe('job states', () => {
  it('no move leaves a final state', () => {
    for (const [move, rule] of Object.entries(JOB_MOVES)) {
      expect({ move, from: rule.from.filter((state) => isFinal(state)) }).toEqual({ move, from: [] });
    }
  });

  it('every state but the first ones can be reached by a move', () => {
    const reached = new Set(Object.values(JOB_MOVES).flatMap((rule) => [...rule.to]));
    expect(JOB_STATES.filter((state) => !reached.has(state))).toEqual([]);
  });

  it('only an attempt that is under way finishes', () => {
    for (const to of FINAL_STATES) {
      expect(mayMove('finish', 'running', to)).toBe(true);
      expect(mayMove('finish', 'queued', to)).toBe(false);
      expect(mayMove('finish', 'succeeded', to)).toBe(false);
    }
  });
});
