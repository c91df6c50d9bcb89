import { parseJson } from './json-body.js';
import { Problem } from './problem.js';

function fault(body: string | Buffer): Problem {
  try {
    parseJson(body);
  } catch (error) {
    return error as Problem;
  }
  throw new Error('the body was taken');
}

test.each([
  ['{"a":1,}', /line 1, column 8/],
  ['{\n  "a": 1,\n  b: 2\n}', /line 3, column 3/],
  ['[1,\n2,\n x]', /Unexpected token 'x' at line 3, column 2/],
  ['hello', /Unexpected token 'h' at line 1, column 1/],
  ['{"a"', /line 1, column 5/],
  ['nul', /Unexpected end of JSON input at line 1, column 4/],
  ['{} {}', /line 1, column 4/],
])('in %j the fault is found', (body, place) => {
  expect(fault(body)).toMatchObject({
    status: 400,
    code: 'invalid_json',
    detail: expect.stringMatching(place),
  });
});

test('the body is not quoted, since it may hold a secret', () => {
  expect(fault('{"secret": whsec_abc}').detail).not.toContain('whsec');
});

test.each(['{"__proto__":{}}', '{"a":[{"\\u005f_proto__":1}]}'])('%s is refused', (body) => {
  expect(fault(body).detail).toContain('__proto__');
});

test('bytes that are no UTF-8 are refused', () => {
  expect(fault(Buffer.from([0x7b, 0xff])).detail).toContain('UTF-8');
});

test.each([
  ['', {}],
  [' \n', {}],
  ['null', null],
  ['{"_a":"\\u0041"}', { _a: 'A' }],
])('%j is read', (body, value) => {
  expect(parseJson(Buffer.from(body))).toEqual(value);
});
