import { z } from 'zod';
import { newJobId } from './job-id.js';

describe('newJobId', () => {
  it('makes version 7 UUIDs that carry the time', () => {
    const before = Date.now();
    const id = newJobId();
    expect(z.uuidv7().safeParse(id).success).toBe(true);
    const made = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
    expect(made).toBeGreaterThanOrEqual(before);
    expect(made).toBeLessThanOrEqual(Date.now());
  });

  it('makes ids that sort in the order in which they were made, and none twice', () => {
    const ids = Array.from({ length: 20_000 }, newJobId);
    expect([...new Set(ids)].sort()).toEqual(ids);
  });
});
