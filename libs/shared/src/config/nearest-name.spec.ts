import { editDistance, nearestName } from './nearest-name.js';

const FIELDS = ['queue', 'command', 'args', 'limits', 'wallTime'];

test.each([
  ['comand', 'command'],
  ['commnad', 'command'],
  ['walltime', 'wallTime'],
  ['wall_time', 'wallTime'],
  ['limit', 'limits'],
  ['agrs', 'args'],
])('%s was meant to be %s', (typed, meant) => {
  expect(nearestName(typed, FIELDS)).toBe(meant);
});

test.each(['colour', 'x', ''])('nothing is near to "%s"', (typed) => {
  expect(nearestName(typed, FIELDS)).toBeUndefined();
});

test('a name of many kilobytes is compared quickly and matches nothing', () => {
  expect(nearestName('x'.repeat(1_000_000), FIELDS)).toBeUndefined();
});

test.each([
  ['', 'abc', 3],
  ['abc', 'abc', 0],
  ['abcd', 'acbd', 1],
  ['kitten', 'sitting', 3],
])('from %s to %s it takes %d edits', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
});
