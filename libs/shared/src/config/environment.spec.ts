import { z } from 'zod';
import { ConfigurationError, readEnvironment } from './environment.js';

const schema = z.object({
  LABHAND_PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  LABHAND_DATABASE_URL: z.string(),
  LABHAND_LOG_LEVEL: z.enum(['debug', 'info']).default('info'),
});

function fault(environment: Record<string, string>): ConfigurationError {
  try {
    readEnvironment(schema, environment);
  } catch (error) {
    return error as ConfigurationError;
  }
  throw new Error('the environment was accepted');
}

test('what is set is read and the rest has its default', () => {
  const { settings, warnings } = readEnvironment(schema, {
    LABHAND_DATABASE_URL: 'postgres://',
    LABHAND_PORT: '0',
  });
  expect(settings).toEqual({
    LABHAND_PORT: 0,
    LABHAND_DATABASE_URL: 'postgres://',
    LABHAND_LOG_LEVEL: 'info',
  });
  expect(warnings).toEqual([]);
});

test('all faults are listed together, each with its variable and what was expected', () => {
  expect(fault({ LABHAND_PORT: 'http', LABHAND_LOG_LEVEL: 'debgu' })).toMatchObject({
    name: 'ConfigurationError',
    faults: [
      'LABHAND_PORT: expected a whole number',
      'LABHAND_DATABASE_URL: is missing; expected a string',
      'LABHAND_LOG_LEVEL: expected one of "debug", "info", got "debgu"; did you mean "debug"?',
    ],
  });
});

test('an empty variable counts as unset', () => {
  expect(fault({ LABHAND_DATABASE_URL: '', LABHAND_PORT: '' }).faults).toEqual([
    'LABHAND_DATABASE_URL: is missing; expected a string',
  ]);
});

test('a variable that nobody reads is told of, with the name that was probably meant', () => {
  const environment = { LABHAND_DATABASE_URL: 'x', LABHAND_PROT: '1', LABHAND_SLOTS: '2', HOME: '/' };
  expect(readEnvironment(schema, environment, ['LABHAND_SLOTS']).warnings).toEqual([
    'The variable LABHAND_PROT is not known and is ignored; did you mean "LABHAND_PORT"?',
  ]);
});
