import { z } from 'zod';
import { seconds } from '#shared/job/job-spec.js';
import { componentSchemas, requestSchema, responseSchema } from './api-schemas.js';

const limits = z.strictObject({ wallTime: seconds });

test('what is sent is described as one may write it, what comes back as it is', () => {
  expect(requestSchema('SpecLimits', z.strictObject({ wallTime: seconds }))).toEqual({
    $ref: '#/components/schemas/SpecLimits',
  });
  responseSchema('ViewLimits', z.object({ wallTime: z.number() }));
  const { SpecLimits, ViewLimits } = componentSchemas() as Record<string, unknown>;
  expect(JSON.stringify(SpecLimits)).toMatch(/"string".*"additionalProperties":false/);
  expect(ViewLimits).toMatchObject({ properties: { wallTime: { type: 'number' } }, required: ['wallTime'] });
});

test('a named schema inside another is referred to', () => {
  requestSchema('Limits', limits);
  requestSchema('Spec', z.strictObject({ limits }));
  expect(componentSchemas()).toMatchObject({
    Spec: { properties: { limits: { $ref: '#/components/schemas/Limits' } } },
  });
});

test('one name for two schemas, and two names for one, are refused', () => {
  const schema = z.object({});
  requestSchema('One', schema);
  expect(requestSchema('One', schema)).toEqual({ $ref: '#/components/schemas/One' });
  expect(() => requestSchema('One', z.object({}))).toThrow('two schemas of the API have the name One');
  expect(() => responseSchema('One', schema)).toThrow('two schemas of the API have the name One');
  expect(() => requestSchema('Two', schema)).toThrow('use one name');
});
