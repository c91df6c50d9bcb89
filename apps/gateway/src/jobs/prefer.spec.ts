import { preferredWait } from './prefer.js';

describe('preferredWait', () => {
  it.each([
    ['wait=30', 30],
    ['respond-async, wait=10', 10],
    ['Wait = "5"; foo', 5],
    ['wait=0', 0],
    ['wait=1, wait=2', 1],
  ])('reads %p', (header, seconds) => expect(preferredWait(header)).toBe(seconds));
  it.each([undefined, '', 'respond-async', 'wait', 'wait=-1', 'wait=x', 'await=3'])(
    'finds none in %p',
    (header) => expect(preferredWait(header)).toBeUndefined(),
  );
});
