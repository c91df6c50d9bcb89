import { joined } from './job-logs.js';

const chunk = (at: number, text: string) => ({ at, data: Buffer.from(text) });

describe('live log chunks', () => {
  it('are joined in order', () => {
    expect(joined([chunk(0, 'ab'), chunk(2, 'cd')]).toString()).toBe('abcd');
  });
  it('that overlap are not repeated', () => {
    expect(joined([chunk(0, 'abc'), chunk(1, 'bcd')]).toString()).toBe('abcd');
  });
  it('with a gap between them say how much is left out', () => {
    expect(joined([chunk(0, 'ab'), chunk(10, 'k')]).toString()).toBe(
      'ab\n[8 bytes are left out while the job runs]\nk',
    );
  });
});
