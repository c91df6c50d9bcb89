import { summarize, type Figure } from './figures.js';
import { tableOf } from './table.js';

const figure = (name: string, value: number, bound?: Figure['bound']): Figure => ({
  name,
  unit: 'jobs/s',
  value,
  bound,
});

it('ratios are taken within a round and medians over them', () => {
  const bound = { atLeast: 0.5, of: 'limit' };
  const [, ours] = summarize([
    [figure('limit', 100), figure('ours', 60, bound)],
    [figure('limit', 10), figure('ours', 7, bound)],
    [figure('limit', 100), figure('ours', 10, bound)],
  ]);
  expect(ours).toMatchObject({ median: 10, least: 7, most: 60, rounds: 3, ratio: 0.6, kept: true });
});

it('a bound without what it is compared with is neither kept nor broken', () => {
  const [ours] = summarize([[figure('ours', 7, { atLeast: 0.5, of: 'limit' })]]);
  expect(ours!.kept).toBeUndefined();
  expect(tableOf([ours!])).toContain('not compared');
});

it('a broken bound stands out in the table', () => {
  const table = tableOf(
    summarize([[figure('fast', 1234.5, { atLeast: 1000 }), figure('slow', 0.1234, { atLeast: 1 })]]),
  );
  expect(table.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))).toEqual([
    ['', 'what', 'median', 'least to most', 'promised', 'reached', ''],
    [
      '',
      expect.any(String),
      expect.any(String),
      expect.any(String),
      expect.any(String),
      expect.any(String),
      '',
    ],
    ['', 'fast', '1235 jobs/s', '', 'at least 1000', 'yes', ''],
    ['', 'slow', '0.123 jobs/s', '', 'at least 1', 'NO', ''],
  ]);
});
