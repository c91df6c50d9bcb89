import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import {
  Body,
  Controller,
  Get,
  Global,
  HttpCode,
  Module,
  Post,
  Query,
  Res,
  StreamableFile,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ApiBody, ApiResponse } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { BrokerUnavailableError } from '#shared/channel/broker.js';
import { jobSpec } from '#shared/job/job-spec.js';
import { createLogger } from '#shared/logging/logger.js';
import { AuthModule } from '#gateway/auth/auth.module.js';
import { Keys } from '#gateway/auth/keys.js';
import { Role } from '#gateway/auth/role.decorator.js';
import { CurrentViewer, type Viewer } from '#gateway/auth/viewer.js';
import { createDataSource } from '#gateway/database/data-source.js';
import { Database } from '#gateway/database/database.js';
import { HealthModule } from '#gateway/health/health.module.js';
import { Readiness } from '#gateway/health/readiness.js';
import { requestSchema, responseSchema } from '#gateway/http/api-schemas.js';
import { createFastifyAdapter } from '#gateway/http/fastify.js';
import { HttpModule } from '#gateway/http/http.module.js';
import { setupOpenApi } from '#gateway/http/openapi.js';
import { parse, parseQuery } from '#gateway/http/validate.js';
import { MetricsModule } from '#gateway/metrics/metrics.module.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

// JSON as it came: what it is, the assertions say.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Json = any;

const SECRET = 'hunter2';
const listQuery = z.strictObject({
  limit: z.coerce.number().int().max(100).optional(),
  state: z.string().optional(),
});
const sample = z.object({ id: z.string(), spec: jobSpec });

@Controller('v1/samples')
class SampleController {
  constructor(private readonly database: Database) {}

  @Post()
  @HttpCode(202)
  @ApiBody({ schema: requestSchema('SampleSpec', jobSpec) })
  @ApiResponse({ status: 202, description: 'Taken', schema: responseSchema('Sample', sample) })
  submit(@Body() body: unknown, @CurrentViewer() viewer: Viewer): unknown {
    const spec = parse(jobSpec, body, 'the job');
    return { owner: viewer.owner, queue: spec.queue };
  }

  @Get()
  list(@Query() query: unknown): unknown {
    return parseQuery(listQuery, query);
  }

  @Post('verb')
  @HttpCode(200)
  verb(@Body() body: unknown): unknown {
    return { body };
  }

  @Get('operators')
  @Role('operator')
  operators(): string {
    return 'in';
  }

  @Get('fault')
  async fault(@Query('kind') kind: string): Promise<void> {
    if (kind === 'broker') throw new BrokerUnavailableError();
    if (kind === 'disk') throw Object.assign(new Error('write failed'), { code: 'ENOSPC' });
    if (kind === 'kill') await this.database.query('SELECT pg_terminate_backend(pg_backend_pid())');
    if (kind === 'sql') await this.database.query(`SELECT '${SECRET}'::int`);
    throw new Error(`the password is ${SECRET}`);
  }

  @Get('late')
  late(@Res({ passthrough: true }) reply: FastifyReply): StreamableFile {
    void reply.header('content-length', 1_000_000);
    async function* body() {
      yield Buffer.alloc(10_000);
      throw new Error('the disk went away');
    }
    return new StreamableFile(Readable.from(body()));
  }

  @Get('described')
  described(@Res({ passthrough: true }) reply: FastifyReply): never {
    void reply.header('content-length', 5).header('etag', '"x"').header('content-type', 'text/plain');
    throw new Error('after the headers were chosen');
  }
}

let testDatabase: TestDatabase;
let app: NestFastifyApplication;
let base: string;
let admin: string;
let submitter: string;
let document: Record<string, Json>;
const log: string[] = [];

beforeAll(async () => {
  testDatabase = await freshDatabase();
  const dataSource = await createDataSource(testDatabase.url).initialize();

  @Global()
  @Module({ providers: [{ provide: Database, useValue: new Database(dataSource) }], exports: [Database] })
  class DatabaseModule {}

  @Module({
    imports: [DatabaseModule, HttpModule, AuthModule, HealthModule, MetricsModule],
    controllers: [SampleController],
  })
  class EdgeModule {}

  const logger = createLogger({
    name: 'gateway',
    level: 'debug',
    destination: { write: (line) => void log.push(line) },
  });
  app = await NestFactory.create<NestFastifyApplication>(EdgeModule, createFastifyAdapter(), { logger });
  const openApi = setupOpenApi(app, { title: 'Labhand', version: '0.0.0' });
  await app.listen(0, '127.0.0.1');
  document = openApi();
  base = await app.getUrl();
  admin = await app.get(Keys).make('root', 'admin');
  submitter = await app.get(Keys).make('alice', 'submitter');
  app.get(Readiness).add('database', () => app.get(Database).query('SELECT 1'));
  afterAllSteps.push(() => dataSource.destroy());
});

const afterAllSteps: (() => Promise<unknown>)[] = [];

afterAll(async () => {
  await app.close();
  for (const step of afterAllSteps) await step();
  await testDatabase.drop();
});

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Json;
}

async function ask(
  path: string,
  init: RequestInit = {},
  key: string | undefined = submitter,
): Promise<Answer> {
  const authorization: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
  const response = await fetch(base + path, { ...init, headers: { ...authorization, ...init.headers } });
  const text = await response.text();
  const json = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, body: json && text ? JSON.parse(text) : text };
}

const post = (path: string, body: string, type = 'application/json') =>
  ask(path, { method: 'POST', body, headers: { 'content-type': type } });

function expectProblem(answer: Answer, status: number, code: string): void {
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(answer.body).toEqual({
    type: `urn:labhand:problem:${code}`,
    title: expect.any(String),
    status,
    detail: expect.stringMatching(/^[A-Z].*[.?]?$/s),
    code,
    instance: answer.headers.get('x-request-id'),
    ...(answer.body.errors ? { errors: expect.any(Array) } : {}),
  });
  expect(answer.status).toBe(status);
}

const logged = () => log.map((line) => JSON.parse(line) as Record<string, Json>);

describe('a fault is a problem', () => {
  test('an unknown field is refused with the name that was meant', async () => {
    const answer = await post('/v1/samples', '{"comand":["ls"],"limits":{"walltime":1}}');
    expectProblem(answer, 422, 'invalid_request');
    expect(answer.body.detail).toBe(
      'The job is not valid: limits.walltime: unknown field "walltime"; did you mean "wallTime"? ' +
        '(and 1 more, see "errors")',
    );
    expect(answer.body.errors).toContainEqual({
      path: 'comand',
      message: 'unknown field "comand"; did you mean "command"?',
    });
  });

  test('a query parameter of another name or type is refused', async () => {
    const answer = await ask('/v1/samples?limt=3&limit=many');
    expectProblem(answer, 422, 'invalid_request');
    expect(answer.body.errors).toEqual([
      { path: 'limit', message: 'expected a whole number' },
      { path: 'limt', message: 'unknown query parameter "limt"; did you mean "limit"?' },
    ]);
    expect((await ask('/v1/samples?limit=3')).body).toEqual({ limit: 3 });
  });

  test('a body that is no JSON is told with line and column', async () => {
    const answer = await post('/v1/samples', '{\n  "queue": docking\n}');
    expectProblem(answer, 400, 'invalid_json');
    expect(answer.body.detail).toContain('line 2, column 12');
  });

  test('a form is refused with the type that is expected', async () => {
    const answer = await post('/v1/samples', 'queue=docking', 'application/x-www-form-urlencoded');
    expectProblem(answer, 415, 'unsupported_media_type');
    expect(answer.body.detail).toContain('Content-Type: application/json');
    expectProblem(await post('/v1/samples', 'hello', 'text/plain'), 415, 'unsupported_media_type');
  });

  test('JSON of more than 4 MiB is refused', async () => {
    expectProblem(
      await post('/v1/samples', JSON.stringify('x'.repeat(4 * 2 ** 20))),
      413,
      'payload_too_large',
    );
  });

  test('an unknown route is named, without its query', async () => {
    const answer = await ask('/v1/jbos?token=abc', { method: 'PUT' });
    expectProblem(answer, 404, 'unknown_route');
    expect(answer.body.detail).toBe('There is no PUT /v1/jbos; /docs lists what there is.');
  });

  test('a path that cannot be decoded is refused', async () => {
    const answer = await ask('/v1/%zz');
    expect([answer.status, answer.body.code]).toEqual([400, 'bad_request']);
  });

  test('an unforeseen error tells nothing but the id of the request, under which the log tells all', async () => {
    const answer = await ask('/v1/samples/fault');
    expectProblem(answer, 500, 'internal_error');
    expect(JSON.stringify(answer.body)).not.toMatch(/hunter2|Error:|\.ts/);
    const line = logged().find(
      ({ requestId, level }) => requestId === answer.body.instance && level === 'error',
    );
    expect(line?.err.stack).toContain(`the password is ${SECRET}`);
  });

  test('a faulty statement tells nothing of it', async () => {
    const answer = await ask('/v1/samples/fault?kind=sql');
    expectProblem(answer, 500, 'internal_error');
    expect(JSON.stringify(answer.body)).not.toMatch(/hunter2|syntax/);
  });

  test.each([
    ['broker', 503, 'broker_unavailable'],
    ['kill', 503, 'database_unavailable'],
  ])('when the %s is away the client is asked to come again', async (kind, status, code) => {
    const answer = await ask(`/v1/samples/fault?kind=${kind}`);
    expectProblem(answer, status, code);
    expect(answer.headers.get('retry-after')).toBe('5');
  });

  test('a full disk is told as such', async () => {
    expectProblem(await ask('/v1/samples/fault?kind=disk'), 507, 'storage_full');
  });

  test('what the handler had said of its body is taken back', async () => {
    const answer = await ask('/v1/samples/described');
    expectProblem(answer, 500, 'internal_error');
    expect(answer.headers.get('etag')).toBeNull();
  });

  test('a HEAD request gets the status without a body', async () => {
    const answer = await ask('/v1/samples/fault', { method: 'HEAD' });
    expect([answer.status, answer.body]).toEqual([500, '']);
  });

  test('an answer that fails on its way is cut, not ended', async () => {
    const response = await fetch(`${base}/v1/samples/late`, {
      headers: { authorization: `Bearer ${submitter}` },
    });
    await expect(response.arrayBuffer()).rejects.toThrow();
    expectProblem(await ask('/v1/jbos'), 404, 'unknown_route');
  });

  test('what is not HTTP is answered with a problem', async () => {
    const socket = connect(Number(new URL(base).port), '127.0.0.1');
    socket.end('hello\r\n\r\n');
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toMatch(
      /^HTTP\/1.1 400 [\s\S]*problem\+json[\s\S]*"bad_request"/,
    );
  });

  test('a body that ends early leaves the server as it was', async () => {
    const socket = connect(Number(new URL(base).port), '127.0.0.1');
    socket.write(
      `POST /v1/samples HTTP/1.1\r\nHost: x\r\nX-Request-Id: short\r\nAuthorization: Bearer ${submitter}\r\n` +
        'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"queue":',
    );
    socket.end();
    socket.resume();
    await once(socket, 'close');
    expect((await post('/v1/samples', '{}')).status).toBe(202);
    expect(logged().filter(({ requestId, level }) => requestId === 'short' && level === 'error')).toEqual([]);
  });
});

describe('a request that is right', () => {
  test('is answered, with its id in the answer', async () => {
    const answer = await ask('/v1/samples', {
      method: 'POST',
      body: '{"command":["ls"]}',
      headers: { 'content-type': 'application/json', 'x-request-id': 'portal-7.a' },
    });
    expect(answer).toMatchObject({ status: 202, body: { owner: 'alice', queue: 'default' } });
    expect(answer.headers.get('x-request-id')).toBe('portal-7.a');
  });

  test('leaves one line with its id, method, route, status, time and owner', async () => {
    await ask('/v1/samples?limit=1', { headers: { 'x-request-id': 'line-1' } });
    // The line is written when the answer has left; one more round trip on the same process is after that.
    await ask('/v1/samples');
    expect(logged().filter(({ requestId }) => requestId === 'line-1')).toEqual([
      expect.objectContaining({
        level: 'info',
        method: 'GET',
        route: '/v1/samples',
        status: 200,
        ms: expect.any(Number),
        owner: 'alice',
      }),
    ]);
  });

  test.each(['a b', 'x'.repeat(129), '"'])('does not keep the id %j', async (id) => {
    const answer = await ask('/v1/samples', { headers: { 'x-request-id': id } });
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('may have an empty JSON body', async () => {
    expect((await post('/v1/samples/verb', '')).body).toEqual({ body: {} });
  });
});

describe('a key', () => {
  test('is asked for, and the answer says where it comes from', async () => {
    const answer = await ask('/v1/samples', {}, '');
    expectProblem(answer, 401, 'unauthenticated');
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="labhand"');
    expect(answer.body.detail).toContain('first start');
  });

  test('may come as X-API-Key', async () => {
    expect((await ask('/v1/samples', { headers: { 'x-api-key': submitter } }, '')).status).toBe(200);
  });

  test('with a wrong secret is refused like one that does not exist', async () => {
    const wrong = submitter.slice(0, -1) + (submitter.endsWith('a') ? 'b' : 'a');
    const unknown = `lh_${'A'.repeat(12)}_${randomBytes(32).toString('hex')}`;
    const answers = await Promise.all([wrong, unknown, 'nonsense'].map((key) => ask('/v1/samples', {}, key)));
    for (const answer of answers) expectProblem(answer, 401, 'unauthenticated');
    expect(new Set(answers.map(({ body }) => body.detail)).size).toBe(1);
  });

  test('of a submitter does not open what is for operators, and an admin key does', async () => {
    const answer = await ask('/v1/samples/operators');
    expectProblem(answer, 403, 'forbidden');
    expect(answer.body.detail).toBe(
      'This takes a key with the role operator; this one has the role submitter.',
    );
    expect((await ask('/v1/samples/operators', {}, admin)).body).toBe('in');
  });

  test('that was revoked is refused', async () => {
    const key = await app.get(Keys).make('bob', 'submitter');
    expect((await ask('/v1/samples', {}, key)).status).toBe(200);
    await app.get(Keys).revoke(key.split('_')[1]!);
    expectProblem(await ask('/v1/samples', {}, key), 401, 'unauthenticated');
  });

  test('stands in no line of the log', async () => {
    await ask(`/v1/samples?limit=${admin}`);
    await ask('/v1/samples', {}, admin);
    const secrets = [admin, submitter].map((key) => key.split('_')[2]!);
    for (const secret of secrets) expect(log.filter((line) => line.includes(secret))).toEqual([]);
  });
});

describe('health', () => {
  test('is open to everybody', async () => {
    expect(await ask('/health/live', {}, '')).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await ask('/health/ready', {}, '')).toMatchObject({
      status: 200,
      body: { status: 'ok', details: { database: { status: 'up' } } },
    });
  });

  test('names what does not answer, and its cause only in the log', async () => {
    let broken = true;
    app.get(Readiness).add('broker', async () => {
      if (broken) throw new Error('connect ECONNREFUSED 10.1.2.3:5672');
    });
    const answer = await ask('/health/ready', {}, '');
    expectProblem(answer, 503, 'unavailable');
    expect(answer.body.errors).toEqual([{ path: 'broker', message: 'does not answer' }]);
    expect(JSON.stringify(answer.body)).not.toContain('10.1.2.3');
    expect(log.some((line) => line.includes('10.1.2.3'))).toBe(true);
    broken = false;
    expect((await ask('/health/ready', {}, '')).status).toBe(200);
  });
});

describe('metrics', () => {
  test('need a key and count requests by route', async () => {
    expectProblem(await ask('/metrics', {}, ''), 401, 'unauthenticated');
    await ask('/v1/samples');
    const answer = await ask('/metrics');
    expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    expect(answer.body).toMatch(
      /labhand_http_request_seconds_count\{method="GET",route="\/v1\/samples",status="200"\} \d+/,
    );
    expect(answer.body).not.toContain('jbos');
  });
});

describe('the OpenAPI document', () => {
  test('is served to everybody, as the page is, which needs nothing from the network', async () => {
    expect((await ask('/openapi.json', {}, '')).body).toEqual(JSON.parse(JSON.stringify(document)));
    const page = await ask('/docs', {}, '');
    expect(page.status).toBe(200);
    expect(page.body).toContain('swagger-ui');
    const linked = [...(page.body as string).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
    expect(linked.filter((link) => /^(https?:)?\/\//.test(link))).toEqual([]);
    for (const link of linked) {
      const { pathname } = new URL(link, `${base}/docs`);
      expect([link, (await ask(pathname, {}, '')).status]).toEqual([link, 200]);
    }
  });

  test('is 3.1, every operation has answers and an id of its own, and every reference leads somewhere', () => {
    expect(document['openapi']).toBe('3.1.0');
    const operations = Object.values<Record<string, Json>>(document['paths']).flatMap((path) =>
      Object.values(path),
    );
    expect(operations.length).toBeGreaterThan(8);
    for (const { responses } of operations) expect(responses).toHaveProperty('default');
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, path]) => path!);
    expect(references).toContain('#/components/schemas/SampleSpec');
    for (const reference of references)
      expect([reference, resolve(reference)]).toEqual([reference, expect.any(Object)]);
  });

  test('describes what clients write as they may write it', () => {
    const { wallTime } = document['components'].schemas.SampleSpec.properties.limits.properties;
    expect(JSON.stringify(wallTime)).toContain('"string"');
  });

  test('asks for a key everywhere but where none is needed', () => {
    expect(document['security']).toEqual([{ apiKey: [] }]);
    expect(document['paths']['/health/live'].get.security).toEqual([]);
    expect(document['paths']['/v1/samples'].get.security).toBeUndefined();
    expect(JSON.stringify(document)).not.toContain('x-labhand-public');
  });

  function resolve(reference: string): unknown {
    const steps = reference.replace(/^#\//, '').split('/');
    return steps.reduce<Json>((here, step) => here?.[step], document);
  }
});

// Last, since there is no way back.
test('a gateway that is shutting down is alive and not ready', async () => {
  app.get(Readiness).drain();
  expectProblem(await ask('/health/ready', {}, ''), 503, 'draining');
  expect((await ask('/health/live', {}, '')).status).toBe(200);
});
