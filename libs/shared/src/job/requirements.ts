import { ISOLATION_LEVELS, type Isolation, type LimitName } from './job-spec.js';

/**
 * What a job may require of its worker, and a worker enforce: a limit or an isolation level that not every host
 * gives. The order is kept in databases (see `maskOf`): new words go to the end.
 */
export const REQUIREMENTS = [
  'isolation:process',
  'isolation:namespaces',
  'isolation:cgroup',
  'limit:idleTime',
  'limit:cpu',
  'limit:memory',
  'limit:processes',
  'limit:openFiles',
  'limit:fileSize',
  'limit:disk',
  'limit:ioRead',
  'limit:ioWrite',
  'limit:network',
] as const;
export type Requirement = (typeof REQUIREMENTS)[number];

/** What every worker enforces, and no job has to require. */
const EVERYWHERE: readonly LimitName[] = ['wallTime', 'killGrace', 'output'];

/** Of a job with these limits. A job for which nobody asked for an isolation level requires none. */
export function requirementsOf(
  limits: Readonly<Partial<Record<LimitName, unknown>>>,
  isolation: Isolation | undefined,
): Requirement[] {
  const limited = (Object.keys(limits) as LimitName[]).filter(
    (name) => limits[name] !== undefined && !EVERYWHERE.includes(name),
  );
  const words = new Set<string>(limited.map((name) => `limit:${name}`));
  if (isolation) words.add(`isolation:${isolation}`);
  return REQUIREMENTS.filter((word) => words.has(word));
}

/** The words as one number, a bit for each: a worker may take a job whose bits are all among its own. */
export function maskOf(words: Iterable<string>): number {
  const known = REQUIREMENTS as readonly string[];
  return [...new Set(words)].reduce(
    (mask, word) => (known.includes(word) ? mask | (1 << known.indexOf(word)) : mask),
    0,
  );
}

export function wordsOf(mask: number): Requirement[] {
  return REQUIREMENTS.filter((_word, bit) => (mask & (1 << bit)) !== 0);
}

/** The stronger of two levels; undefined when none is asked for. */
export function strongerIsolation(
  one: Isolation | undefined,
  other: Isolation | undefined,
): Isolation | undefined {
  const rank = (level: Isolation | undefined) => (level ? ISOLATION_LEVELS.indexOf(level) : -1);
  return rank(one) >= rank(other) ? one : other;
}
