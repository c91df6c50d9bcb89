import { gate, type Gate } from '../../../../test/support/signals.js';
import type { Viewer } from '../auth/viewer.js';
import type { Ended, JobEvents } from '../events/job-events.js';
import type { JobQueries } from './job-queries.js';
import type { WholeJob } from './job-row.js';
import { JobWaiting } from './job-waiting.js';

const VIEWER: Viewer = { owner: 'ada', role: 'submitter', keyId: 'key' };
const present = new AbortController().signal;

describe('JobWaiting', () => {
  /** What `JobEvents.end` was asked and has not answered. */
  let listeners: { tell: (ended?: Ended) => void }[];
  let listened: Gate;
  let state: string;
  let asked: string[];
  let waiting: JobWaiting;

  beforeEach(() => {
    listeners = [];
    listened = gate();
    state = 'running';
    asked = [];
    const events = {
      end: () =>
        new Promise<Ended | undefined>((tell) => {
          listeners.push({ tell });
          listened.open();
        }),
    };
    const queries = {
      state: async () => (asked.push('state'), state),
      row: async () => (asked.push('row'), { state }),
    };
    waiting = new JobWaiting(queries as unknown as JobQueries, events as unknown as JobEvents);
  });

  const final = (justSubmitted = false) => waiting.final('a job', VIEWER, 60, present, justSubmitted);
  const nextListener = async () => {
    await listened.opened;
    listened = gate();
    return listeners.at(-1)!;
  };

  it('answers with a job that is over already', async () => {
    state = 'succeeded';
    expect(await final()).toEqual({ state });
    expect(asked).toEqual(['state', 'row']);
  });

  it('answers with the job that its end brings', async () => {
    const answer = final();
    const { tell } = await nextListener();
    const job = { id: 'a job', state: 'succeeded' } as WholeJob;
    tell({ job });
    expect(await answer).toBe(job);
    expect(asked).toEqual(['state']);
  });

  it('reads a job at its end when that was recorded elsewhere', async () => {
    const answer = final();
    const { tell } = await nextListener();
    state = 'failed';
    tell({});
    expect(await answer).toEqual({ state });
    expect(asked).toEqual(['state', 'row']);
  });

  it('looks again when the end may have been missed', async () => {
    const answer = final();
    const { tell } = await nextListener();
    state = 'canceled';
    tell();
    expect(await answer).toEqual({ state });
    expect(asked).toEqual(['state', 'state', 'row']);
  });

  it('does not look at a job that was just submitted before it had the time to end', async () => {
    const answer = final(true);
    const { tell } = await nextListener();
    await new Promise(setImmediate);
    expect(asked).toEqual([]);
    tell();
    state = 'succeeded';
    expect(await answer).toEqual({ state });
    expect(asked).toEqual(['state', 'row']);
  });
});
