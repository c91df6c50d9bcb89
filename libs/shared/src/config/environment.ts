import { z } from 'zod';
import { didYouMean } from './nearest-name.js';
import { check } from './schema-faults.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ReadEnvironment<T> {
  readonly settings: T;
  /** One sentence for each LABHAND_ variable that nobody reads; for the log. */
  readonly warnings: readonly string[];
}

/** The environment does not say what a program needs to start; the message lists everything at once. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';

  constructor(readonly faults: readonly string[]) {
    super(`The configuration is not valid:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
  }
}

/**
 * Reads the variables that the schema names. An empty variable counts as unset, because compose files and shells pass
 * on unset ones so.
 * @param alsoKnown names of LABHAND_ variables that another part of the same program reads
 * @throws {ConfigurationError} with every fault, each naming its variable and what was expected
 */
export function readEnvironment<S extends z.ZodObject>(
  schema: S,
  environment: Environment,
  alsoKnown: readonly string[] = [],
): ReadEnvironment<z.output<S>> {
  const names = Object.keys(schema.shape);
  const given = Object.fromEntries(
    names.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])),
  );
  const { value, faults } = check(schema, given, 'variable');
  if (faults.length > 0) {
    throw new ConfigurationError(faults.map(({ path, message }) => `${path || 'environment'}: ${message}`));
  }
  return { settings: value as z.output<S>, warnings: unread(environment, [...names, ...alsoKnown]) };
}

function unread(environment: Environment, known: readonly string[]): string[] {
  return Object.keys(environment)
    .filter((name) => name.startsWith('LABHAND_') && !known.includes(name))
    .map((name) => `The variable ${name} is not known and is ignored${didYouMean(name, known)}`);
}
