import { HttpException, NotFoundException } from '@nestjs/common';
import { BrokerUnavailableError } from '#shared/channel/broker.js';
import { Problem, PROBLEMS, type ProblemCode } from './problem.js';
import { problemBody } from './problem-body.js';
import { toProblem } from './to-problem.js';

const asked = { method: 'GET', path: '/v1/jobs' };
const coded = (code: string, message = 'x', more = {}) =>
  Object.assign(new Error(message), { code, ...more });

test.each<[string, unknown, ProblemCode]>([
  ['a refused connection', coded('ECONNREFUSED', 'connect', { syscall: 'connect' }), 'unavailable'],
  [
    'connections refused on both families',
    Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }),
    'unavailable',
  ],
  ['an unknown host', coded('ENOTFOUND', 'x', { syscall: 'getaddrinfo' }), 'unavailable'],
  ['a Postgres that shuts down', coded('57P01'), 'database_unavailable'],
  ['a Postgres that starts', coded('57P03'), 'database_unavailable'],
  ['a lost connection to Postgres', new Error('Connection terminated unexpectedly'), 'database_unavailable'],
  [
    'what TypeORM wraps',
    Object.assign(new Error('q'), { driverError: coded('08006') }),
    'database_unavailable',
  ],
  ['what we wrap', new Error('q', { cause: coded('57P01') }), 'database_unavailable'],
  ['a broker away', new Error('q', { cause: new BrokerUnavailableError() }), 'broker_unavailable'],
  ['a full disk', coded('ENOSPC'), 'storage_full'],
  ['a client that went away', coded('ECONNRESET', 'aborted'), 'body_incomplete'],
  ['a form that ends early', new Error('Unexpected end of form'), 'body_incomplete'],
  ['a form without boundary', new Error('Multipart: Boundary not found'), 'invalid_multipart'],
  ['a violated constraint', coded('23505'), 'internal_error'],
  ['a file that is missing', coded('ENOENT', 'x', { syscall: 'open' }), 'internal_error'],
  ['something thrown that is no error', 'oops', 'internal_error'],
  ['nothing thrown', undefined, 'internal_error'],
  ['an HttpException', new HttpException('Later', 429), 'too_many_requests'],
  ["a feature's own 404", new NotFoundException('No such job.'), 'not_found'],
  ["Nest's 404", new NotFoundException('Cannot GET /v1/jobs'), 'unknown_route'],
  ['a status that nobody uses', new HttpException('Teapot', 418), 'internal_error'],
])('%s', (_what, error, code) => {
  const problem = toProblem(error, asked);
  expect(problem.code).toBe(code);
  expect(problem.status).toBe(PROBLEMS[code].status);
});

test('a problem is passed on as it is', () => {
  const problem = new Problem(409, 'conflict', 'Two of a kind.');
  expect(toProblem(problem, asked)).toBe(problem);
});

test('a circle of causes ends', () => {
  const error = new Error('a');
  error.cause = error;
  expect(toProblem(error, asked).code).toBe('internal_error');
});

test('a sentence that quotes a key does not tell its secret', () => {
  const body = problemBody(
    new Problem(400, 'bad_request', `lh_abcdefghijkl_${'s'.repeat(43)} is odd.`),
    'r1',
  );
  expect(JSON.parse(body)).toMatchObject({ detail: 'lh_abcdefghijkl_[redacted] is odd.', instance: 'r1' });
});
