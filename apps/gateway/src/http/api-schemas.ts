import type { OpenAPIObject } from '@nestjs/swagger';
import { z } from 'zod';

type Schemas = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>;

export interface SchemaReference {
  $ref: string;
}

/**
 * The named schemas of the OpenAPI document, made from the zod schemas that also validate. Feature files register
 * theirs beside the schema and refer to them in their decorators:
 *
 *     @ApiBody({ schema: requestSchema('JobSpec', jobSpec) })
 *     @ApiResponse({ status: 200, description: 'The job', schema: responseSchema('Job', jobView) })
 */
const requests = z.registry<{ id: string }>();
const responses = z.registry<{ id: string }>();

/** Names what clients send, as they may write it. @throws {Error} the name is another schema's */
export function requestSchema(name: string, schema: z.core.$ZodType): SchemaReference {
  return register(requests, name, schema);
}

/** Names what clients get. @throws {Error} the name is another schema's */
export function responseSchema(name: string, schema: z.core.$ZodType): SchemaReference {
  return register(responses, name, schema);
}

/** Refers to a schema that is registered elsewhere. */
export function schemaRef(name: string): SchemaReference {
  return { $ref: `#/components/schemas/${name}` };
}

/** All of them, as the `components.schemas` of the document. */
export function componentSchemas(): Schemas {
  return { ...convert(requests, 'input'), ...convert(responses, 'output') };
}

type Names = z.core.$ZodRegistry<{ id: string }>;

const known = new Map<string, { names: Names; schema: z.core.$ZodType }>();

function register(names: Names, name: string, schema: z.core.$ZodType): SchemaReference {
  const taken = known.get(name);
  if (taken && (taken.names !== names || taken.schema !== schema)) {
    throw new Error(`two schemas of the API have the name ${name}; give each its own`);
  }
  const before = names.get(schema)?.id;
  if (before && before !== name) {
    throw new Error(`the API schema ${before} is named ${name} as well; use one name for it`);
  }
  known.set(name, { names, schema });
  names.add(schema, { id: name });
  return schemaRef(name);
}

function convert(names: Names, io: 'input' | 'output'): Schemas {
  const { schemas } = z.toJSONSchema(names, {
    io,
    unrepresentable: 'any',
    uri: (id) => `#/components/schemas/${id}`,
  });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $schema: _dialect, $id: _id, ...schema }]) => [name, schema]),
  ) as Schemas;
}
