import { z } from 'zod';
import { didYouMean } from './nearest-name.js';

/**
 * What a value does against a zod schema, told to a person: where, what was expected, what came, and for an unknown
 * field the name that was probably meant. Values are not repeated (they may be secrets), apart from numbers and words
 * where one of a few was expected.
 */

/** `path` reads like `inputs[2].path`; it is empty for the value as a whole. */
export interface SchemaFault {
  readonly path: string;
  readonly message: string;
}

export interface Checked<T> {
  /** Present when there are no faults. */
  readonly value?: T;
  readonly faults: readonly SchemaFault[];
}

type Schema = z.core.$ZodType;
type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** More say nothing new: a client that sends ten thousand wrong items reads the first ones. */
const MOST_FAULTS = 100;

/**
 * Checks and tells every fault.
 * @param noun what a key is called: `field`, `query parameter`
 */
export function check<S extends Schema>(schema: S, value: unknown, noun = 'field'): Checked<z.output<S>> {
  const result = z.safeParse(schema, value, { reportInput: true });
  if (result.success) return { value: result.data, faults: [] };
  const faults = result.error.issues.flatMap((issue) => explain(schema, issue, [], noun));
  return { faults: faults.slice(0, MOST_FAULTS) };
}

function explain(schema: Schema, issue: Issue, above: Path, noun: string): SchemaFault[] {
  const path = [...above, ...issue.path];
  const here = schemasAt([schema], issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: pathText([...path, key]),
      message: unknownKey(key, here.flatMap(keysOf), noun),
    }));
  }
  if (issue.code === 'invalid_union') {
    const branch = likelyBranch(here, issue);
    if (branch) return branch.issues.flatMap((inner) => explain(branch.schema, inner, path, noun));
  }
  if (issue.code === 'invalid_key') {
    const reasons = issue.issues.map((inner) => inner.message).join('; ');
    return [{ path: pathText(path), message: `the name is not valid: ${reasons}` }];
  }
  return [{ path: pathText(path), message: sentence(issue, here) }];
}

function unknownKey(key: string, known: readonly string[], noun: string): string {
  const hint = didYouMean(key, known);
  const list = !hint && known.length > 0 && known.length <= 20 ? `; known are ${known.join(', ')}` : '';
  return `unknown ${noun} ${JSON.stringify(key.slice(0, 100))}${hint || list}`;
}

/** Of a union, the alternative that the value came closest to; undefined when it is of no alternative's type. */
function likelyBranch(
  here: readonly Schema[],
  issue: z.core.$ZodIssueInvalidUnion,
): { schema: Schema; issues: readonly Issue[] } | undefined {
  const alternatives = here.flatMap((schema) => unionOptions(schema) ?? []);
  const misfit = (inner: Issue) =>
    inner.path.length === 0 && (inner.code === 'invalid_type' || inner.code === 'invalid_value');
  return issue.errors
    .map((issues, index) => ({ schema: alternatives[index]!, issues }))
    .filter(({ schema, issues }) => schema && issues.length > 0 && !issues.some(misfit))
    .sort((a, b) => a.issues.length - b.issues.length)[0];
}

function sentence(issue: Issue, here: readonly Schema[]): string {
  // A message of our own schemas says it best; zod's own begin with one of these words.
  if (!/^(Invalid|Too|Unrecognized)\b/.test(issue.message)) return issue.message;
  switch (issue.code) {
    case 'invalid_type':
    case 'invalid_union':
    case 'invalid_value':
      return unexpected(issue.input, here, issue);
    case 'too_small':
      return bounds('at least', issue.minimum, issue.inclusive ?? true, issue.origin, issue.input);
    case 'too_big':
      return bounds('at most', issue.maximum, issue.inclusive ?? true, issue.origin, issue.input);
    case 'not_multiple_of':
      return `expected a multiple of ${issue.divisor}`;
    case 'invalid_format':
      return `expected ${FORMATS[issue.format] ?? 'another form'}${issue.pattern ? ` that fits ${issue.pattern}` : ''}`;
    default:
      return issue.message;
  }
}

const FORMATS: Readonly<Record<string, string>> = {
  url: 'a URL',
  uuid: 'a UUID',
  email: 'an e-mail address',
  datetime: 'a time such as 2026-01-31T12:00:00Z',
  regex: 'text',
};

function unexpected(input: unknown, here: readonly Schema[], issue: Issue): string {
  const expected = [...new Set(here.map((schema) => name(schema)))].join(' or ') || fallback(issue);
  if (input === undefined) return `is missing; expected ${expected}`;
  // A coerced text that is no number.
  if (typeof input === 'number' && Number.isNaN(input)) return `expected ${expected}`;
  const word = issue.code === 'invalid_value' && typeof input === 'string' && input.length <= 40;
  const shown = word || typeof input === 'number' ? JSON.stringify(input) : kindOf(input);
  const hint = word ? didYouMean(input, issue.values.map(String)) : '';
  return `expected ${expected}, got ${shown}${hint}`;
}

const fallback = (issue: Issue) =>
  issue.code === 'invalid_type' ? withArticle(issue.expected) : 'something else';

function bounds(
  side: string,
  limit: number | bigint,
  inclusive: boolean,
  origin: string,
  input: unknown,
): string {
  const unit = UNITS[origin];
  const edge = inclusive ? `${side} ${limit}` : `${side === 'at least' ? 'more than' : 'less than'} ${limit}`;
  if (!unit) return `expected a number of ${edge}, got ${String(input)}`;
  const size =
    (input as { length?: number; size?: number } | null)?.length ?? (input as { size?: number })?.size;
  return `expected ${edge} ${unit}${Number(limit) === 1 ? '' : 's'}${size === undefined ? '' : `, got ${size}`}`;
}

const UNITS: Readonly<Record<string, string>> = {
  string: 'character',
  array: 'item',
  set: 'item',
  map: 'entry',
};

function kindOf(input: unknown): string {
  if (input === null) return 'null';
  return Array.isArray(input) ? 'an array' : withArticle(typeof input);
}

const withArticle = (noun: string) => `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;

/** What a schema takes, as `a string`, `an array of strings`. */
function name(wrapped: Schema, plural = false): string {
  const { def } = unwrap(wrapped)._zod as z.core.$ZodTypes['_zod'];
  const noun = (singular: string) => (plural ? `${singular}s` : withArticle(singular));
  switch (def.type) {
    case 'number':
      return noun(
        (def as { format?: string }).format?.includes('int') || hasInt(def) ? 'whole number' : 'number',
      );
    case 'array':
      return `${plural ? 'arrays' : 'an array'} of ${name(def.element, true)}`;
    case 'record':
    case 'object':
      return noun('object');
    case 'enum':
      return oneOf(Object.values(def.entries));
    case 'literal':
      return oneOf(def.values);
    case 'union':
      return [...new Set(def.options.map((option) => name(option, plural)))].join(plural ? ' and ' : ' or ');
    case 'unknown':
    case 'any':
    case 'custom':
      return plural ? 'values' : 'a value';
    default:
      return noun(def.type);
  }
}

const hasInt = (def: z.core.$ZodNumberDef) =>
  (def.checks ?? []).some((c) => (c._zod.def as { format?: string }).format?.includes('int'));

function oneOf(values: readonly unknown[]): string {
  const words = values.map((value) => JSON.stringify(value));
  return words.length === 1 ? words[0]! : `one of ${words.join(', ')}`;
}

/** The schemas that judge the value at this path: several where a union leaves it open. */
function schemasAt(schemas: readonly Schema[], path: Path): Schema[] {
  const open = schemas.map(unwrap);
  const [key, ...rest] = path;
  if (key === undefined) return open;
  return schemasAt(
    open.flatMap((schema) => childrenOf(schema, key)),
    rest,
  );
}

function childrenOf(schema: Schema, key: PropertyKey): Schema[] {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  switch (def.type) {
    case 'object': {
      const child = Object.hasOwn(def.shape, key) ? def.shape[String(key)] : def.catchall;
      return child ? [child] : [];
    }
    case 'array':
      return [def.element];
    case 'tuple':
      return [def.items[Number(key)] ?? def.rest].filter((item) => item != null);
    case 'record':
      return [def.valueType];
    case 'union':
      return def.options.flatMap((option) => childrenOf(unwrap(option), key));
    case 'intersection':
      return [def.left, def.right].flatMap((side) => childrenOf(unwrap(side), key));
    default:
      return [];
  }
}

/** Through optional, default, transform and the like, to the schema that sees the value as it came. */
function unwrap(schema: Schema): Schema {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'readonly':
    case 'catch':
      return unwrap(def.innerType);
    case 'pipe':
      // z.preprocess puts a transform in front: what counts then stands behind it.
      return unwrap((def.in._zod as z.core.$ZodTypes['_zod']).def.type === 'transform' ? def.out : def.in);
    case 'lazy':
      return unwrap(def.getter());
    default:
      return schema;
  }
}

function unionOptions(schema: Schema): readonly Schema[] | undefined {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  return def.type === 'union' ? def.options : undefined;
}

/** The names that an object schema knows. */
export function keysOf(wrapped: Schema): string[] {
  const schema = unwrap(wrapped);
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  if (def.type === 'object') return Object.keys(def.shape);
  if (def.type === 'intersection') return [...keysOf(def.left), ...keysOf(def.right)];
  return (unionOptions(schema) ?? []).flatMap(keysOf);
}

/** `['inputs', 2, 'path']` as `inputs[2].path`. */
export function pathText(path: Path): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    const word = String(key).slice(0, 100);
    if (!/^[A-Za-z_][\w-]*$/.test(word)) return `${text}[${JSON.stringify(word)}]`;
    return text ? `${text}.${word}` : word;
  }, '');
}
