import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule, type OpenAPIObject } from '@nestjs/swagger';
import { z } from 'zod';
import { PUBLIC_EXTENSION } from '../auth/public.decorator.js';
import { componentSchemas, responseSchema, schemaRef } from './api-schemas.js';
import { PROBLEM_TYPE } from './problem-body.js';
import { PROBLEMS, type ProblemCode } from './problem.js';

export interface OpenApiOptions {
  readonly title: string;
  readonly version: string;
}

const codes = Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]];

const problem = z.object({
  type: z.string().describe('urn:labhand:problem:<code>'),
  title: z.string(),
  status: z.int(),
  detail: z.string().describe('What was wrong, what was expected, what to do'),
  code: z.enum(codes).describe('Stable; newer servers may have more'),
  instance: z.string().describe('The id of the request, as in the header X-Request-Id and in the log'),
  errors: z
    .array(z.object({ path: z.string().describe('Such as inputs[2].path'), message: z.string() }))
    .optional(),
});
responseSchema('Problem', problem);

/**
 * Serves the OpenAPI 3.1 document at /openapi.json and a page for it at /docs, both open to everybody and without
 * anything from the network.
 * @returns the document, made when it is asked for first: most gateways are never asked
 */
export function setupOpenApi(app: INestApplication, options: OpenApiOptions): () => OpenAPIObject {
  let made: OpenAPIObject | undefined;
  const document = () => (made ??= makeDocument(app, options));
  SwaggerModule.setup('docs', app, document, {
    jsonDocumentUrl: 'openapi.json',
    raw: ['json'],
    customSiteTitle: options.title,
    swaggerOptions: { persistAuthorization: true, validatorUrl: null },
  });
  return document;
}

function makeDocument(app: INestApplication, { title, version }: OpenApiOptions): OpenAPIObject {
  const config = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle(title)
    .setVersion(version)
    .setDescription(
      'Submit commands and files, wait for, follow and fetch what comes of them. Errors are RFC 9457 problems with a ' +
        'stable `code`. Fields are camelCase, times RFC 3339 in UTC, sizes bytes, durations seconds.',
    )
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'lh_<id>_<secret>' }, 'apiKey')
    .addSecurityRequirements('apiKey')
    .build();
  const document = SwaggerModule.createDocument(app, config, { operationIdFactory });
  document.components = {
    ...document.components,
    schemas: { ...document.components?.schemas, ...componentSchemas() },
  };
  for (const operation of operationsOf(document)) completeOperation(operation);
  return document;
}

/** `JobsController.list` is `listJobs` to a generated client: the verb and the noun, without our class names. */
function operationIdFactory(controller: string, method: string): string {
  return `${method}${controller.replace(/Controller$/, '')}`;
}

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

const METHODS = ['get', 'put', 'post', 'delete', 'patch', 'head', 'options'] as const;

function operationsOf(document: OpenAPIObject): Operation[] {
  return Object.values(document.paths).flatMap((path) => METHODS.flatMap((method) => path[method] ?? []));
}

/** What holds for every operation: faults are problems, and a public one asks for no key. */
function completeOperation(operation: Operation): void {
  const asProblem = { [PROBLEM_TYPE]: { schema: schemaRef('Problem') } };
  for (const [status, response] of Object.entries(operation.responses)) {
    if (/^[45]/.test(status) && response && !('$ref' in response)) response.content ??= asProblem;
  }
  operation.responses['default'] ??= { description: 'A problem; "code" says which', content: asProblem };
  const extended = operation as unknown as Record<string, unknown>;
  if (extended[PUBLIC_EXTENSION]) operation.security = [];
  delete extended[PUBLIC_EXTENSION];
}
