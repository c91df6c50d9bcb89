import { attemptToken, checkAttemptToken } from './attempt-token.js';

const token = attemptToken('secret', 'job', 1);

it('a token opens its own attempt', () => {
  expect(checkAttemptToken('secret', token, 'job', 1)).toBe(true);
});

it.each([
  ['another job', 'secret', token, 'other', 1],
  ['another attempt', 'secret', token, 'job', 2],
  ['a job and attempt that read the same', 'secret', attemptToken('secret', 'job.1', 1), 'job', 11],
  ['another secret', 'changed', token, 'job', 1],
  ['a part of it', 'secret', token.slice(0, -1), 'job', 1],
  ['nothing', 'secret', '', 'job', 1],
])('a token does not open %s', (_what, secret, given, jobId, attempt) => {
  expect(checkAttemptToken(secret, given, jobId, attempt)).toBe(false);
});
