import { parseBytes, parseDuration } from './units.js';

describe('units', () => {
  it.each([
    ['1024', 1024],
    ['4Gi', 4 * 2 ** 30],
    ['500M', 500e6],
    ['1.5Ki', 1536],
    ['2 GiB', 2 * 2 ** 30],
  ])('reads the size %s', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it.each([
    ['30', 30],
    ['250ms', 0.25],
    ['90s', 90],
    ['2h', 7200],
    ['1.5d', 129_600],
  ])('reads the duration %s', (text, seconds) => expect(parseDuration(text)).toBe(seconds));

  it.each(['', '-1', '4X', 'Gi', '1e9', '1Gi2'])('refuses %p as a size', (text) =>
    expect(parseBytes(text)).toBeUndefined(),
  );
  it.each(['', '-1s', '1y', 'h', '1h30m'])('refuses %p as a duration', (text) =>
    expect(parseDuration(text)).toBeUndefined(),
  );
});
