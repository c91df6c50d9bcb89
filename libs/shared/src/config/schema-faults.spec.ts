import { z } from 'zod';
import { jobSpec } from '../job/job-spec.js';
import { check } from './schema-faults.js';

const faults = (value: unknown) =>
  check(jobSpec, value).faults.map(({ path, message }) => `${path}: ${message}`);

test.each<[unknown, string[]]>([
  [{ comand: ['a'] }, ['comand: unknown field "comand"; did you mean "command"?']],
  [{ limits: { walltime: 3 } }, ['limits.walltime: unknown field "walltime"; did you mean "wallTime"?']],
  [
    { limits: { x: 3 } },
    [
      'limits.x: unknown field "x"; known are wallTime, idleTime, killGrace, output, cpu, memory, processes, openFiles, fileSize, disk, ioRead, ioWrite, network',
    ],
  ],
  [
    {
      inputs: [
        { path: 'a', content: '' },
        { pth: 'b', content: '' },
      ],
    },
    [
      'inputs[1].path: is missing; expected a string',
      'inputs[1].pth: unknown field "pth"; did you mean "path"?',
    ],
  ],
  [{ command: 'ls' }, ['command: expected an array of strings, got a string']],
  [{ command: [] }, ['command: expected at least 1 item, got 0']],
  [{ command: ['ls', 1] }, ['command[1]: expected a string, got 1']],
  [{ command: null }, ['command: expected an array of strings, got null']],
  [{ limits: { wallTime: true } }, ['limits.wallTime: expected a number or a string, got a boolean']],
  [{ limits: { wallTime: 'soon' } }, ['limits.wallTime: expected a duration in seconds such as 90 or "2h"']],
  [{ priority: 900 }, ['priority: expected a number of at most 100, got 900']],
  [{ priority: 1.5 }, ['priority: expected a whole number, got 1.5']],
  [{ priority: 'high' }, ['priority: expected a whole number, got a string']],
  [{ name: 'x'.repeat(201) }, ['name: expected at most 200 characters, got 201']],
  [
    { env: { LABHAND_X: 'y' } },
    ['env.LABHAND_X: the name is not valid: names that start with LABHAND_ are set by the worker'],
  ],
  [
    { callback: { url: 'https://portal.example/', events: ['runing'] } },
    [
      'callback.events[0]: expected one of "queued", "running", "succeeded", "failed", "canceled", ' +
        'got "runing"; did you mean "running"?',
    ],
  ],
  [[], [': expected an object, got an array']],
  [undefined, [': is missing; expected an object']],
])('%j is refused with its path and what was expected', (value, expected) => {
  expect(faults(value)).toEqual(expected);
});

test('a value that fits comes back as the schema makes it', () => {
  const { value, faults: none } = check(jobSpec, { command: ['ls'], limits: { wallTime: '2h' } });
  expect(none).toEqual([]);
  expect(value).toMatchObject({ queue: 'default', limits: { wallTime: 7200 } });
});

test('a secret that does not fit is not repeated', () => {
  const [fault] = check(jobSpec, { callback: { url: 'https://a.example', secret: 'whsec_hunter2' } }).faults;
  expect(fault!.path).toBe('callback.secret');
  expect(fault!.message).not.toContain('hunter2');
});

test('of a union, the alternatives that the value came closest to are explained', () => {
  const source = z.union([
    z.strictObject({ url: z.string() }),
    z.strictObject({ upload: z.string() }),
    z.string(),
  ]);
  const schema = z.strictObject({ source });
  expect(check(schema, { source: { url: 'a', sha: 'b' } }).faults).toEqual([
    { path: 'source.sha', message: 'unknown field "sha"; known are url, upload' },
  ]);
  expect(check(schema, { source: 3 }).faults).toEqual([
    { path: 'source', message: 'expected an object or a string, got 3' },
  ]);
});

test('ten thousand faults are told in a hundred', () => {
  expect(check(z.array(z.string()), new Array(10_000).fill(1)).faults).toHaveLength(100);
});

test('names that are no plain words stand in brackets', () => {
  const [fault] = check(z.record(z.string(), z.number()), { 'a.b': 'x' }).faults;
  expect(fault!.path).toBe('["a.b"]');
});
