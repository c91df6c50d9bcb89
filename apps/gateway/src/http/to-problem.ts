import { HttpException } from '@nestjs/common';
import { BrokerUnavailableError, RequestTimeoutError, UnroutableError } from '#shared/channel/broker.js';
import { Problem, PROBLEMS, type ProblemCode } from './problem.js';

/** What the request was, as far as an answer names it. */
export interface Asked {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly contentType?: string;
}

/** Seconds until trying again makes sense, when a service behind the gateway is away. */
const RETRY_AFTER = '5';

/**
 * Any error as the fault that the client is told of. What nobody foresaw becomes `internal_error`, which says
 * nothing of the inside: that stands in the log under the request's id.
 */
export function toProblem(error: unknown, asked: Asked): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HttpException) return ofHttpException(error, asked);
  for (const link of chain(error)) {
    const problem = ofSystem(link) ?? ofFastify(link, asked);
    if (problem) return problem;
  }
  return internalError(error);
}

function ofHttpException(error: HttpException, asked: Asked): Problem {
  const cause = error.cause === undefined ? undefined : ofFastify(error.cause, asked);
  if (cause) return cause;
  const status = error.getStatus();
  if (status === 404 && /^Cannot [A-Z]+ /.test(error.message)) return unknownRoute(asked);
  const code = codeOf(status);
  if (!code) return internalError(error);
  return make(code, error.message, { cause: error });
}

function unknownRoute({ method, path }: Asked): Problem {
  return new Problem(
    404,
    'unknown_route',
    `There is no ${method} ${path.slice(0, 200)}; /docs lists what there is.`,
  );
}

/** The most general code of a status: the first in the table. */
function codeOf(status: number): ProblemCode | undefined {
  const codes = Object.keys(PROBLEMS) as ProblemCode[];
  return codes.find((code) => PROBLEMS[code].status === status);
}

function make(
  code: ProblemCode,
  detail: string,
  options?: ConstructorParameters<typeof Problem>[3],
): Problem {
  return new Problem(PROBLEMS[code].status, code, detail, options);
}

function internalError(cause: unknown): Problem {
  return new Problem(
    500,
    'internal_error',
    'Something went wrong inside the server. Its log tells more under the request id in "instance".',
    { cause },
  );
}

interface Coded {
  readonly code?: unknown;
  readonly message?: unknown;
}

function ofFastify(error: unknown, asked: Asked): Problem | undefined {
  const { code, message } = error as Coded;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
    case 'FST_REQ_FILE_TOO_LARGE':
    case 'FST_PARTS_LIMIT':
    case 'FST_FILES_LIMIT':
    case 'FST_FIELDS_LIMIT':
      return make('payload_too_large', TOO_LARGE[code]);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return unsupportedMediaType(asked);
    case 'FST_INVALID_MULTIPART_CONTENT_TYPE':
      return unsupportedMediaType(asked);
    case 'FST_INVALID_JSON_FIELD_ERROR':
      return make('invalid_json', 'A part of the form is declared as JSON and is not valid JSON.');
    case 'FST_MP_PREMATURE_CLOSE':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'ECONNRESET':
      return code === 'ECONNRESET' && message !== 'aborted' ? undefined : make('body_incomplete', INCOMPLETE);
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return make(
        'bad_request',
        'The path of the request cannot be read; percent-encode its special characters.',
      );
    default:
      return ofFormParser(message);
  }
}

/** busboy, which reads multipart bodies, gives its errors no code. */
function ofFormParser(message: unknown): Problem | undefined {
  if (typeof message !== 'string') return undefined;
  if (/^Unexpected end of (form|file)$/.test(message)) return make('body_incomplete', INCOMPLETE);
  if (!/^(Multipart: Boundary not found|Malformed (part header|content type))/.test(message))
    return undefined;
  return make(
    'invalid_multipart',
    'The multipart body cannot be read; let the HTTP client make the Content-Type with its boundary, and the parts.',
  );
}

const INCOMPLETE = 'The body ended before it was complete; nothing was kept of it. Send the request again.';

const TOO_LARGE = {
  FST_ERR_CTP_BODY_TOO_LARGE:
    'The JSON body is larger than this server takes; send files as parts of a multipart/form-data request instead.',
  FST_REQ_FILE_TOO_LARGE: 'A file part is larger than this server takes.',
  FST_PARTS_LIMIT: 'The request has more parts than this server takes; put the files into one archive.',
  FST_FILES_LIMIT: 'The request has more file parts than this server takes; put the files into one archive.',
  FST_FIELDS_LIMIT:
    'The request has more parts than this server takes; one part "job" carries the job as JSON.',
} as const;

function unsupportedMediaType({ contentType }: Asked): Problem {
  const sent = contentType
    ? `a body of type ${JSON.stringify(contentType.slice(0, 100))}`
    : 'a body without a type';
  return make(
    'unsupported_media_type',
    `This route does not take ${sent}; send JSON with "Content-Type: application/json", ` +
      'or files as multipart/form-data where /docs says so.',
  );
}

function ofSystem(error: unknown): Problem | undefined {
  if (
    error instanceof BrokerUnavailableError ||
    error instanceof RequestTimeoutError ||
    error instanceof UnroutableError
  ) {
    return later('broker_unavailable', 'The message broker cannot be reached for the moment', error);
  }
  const { code, message } = error as Coded;
  if (typeof code === 'string' && DATABASE_AWAY.test(code)) {
    return later('database_unavailable', 'The database cannot be reached for the moment', error);
  }
  if (code === undefined && typeof message === 'string' && POOL_AWAY.test(message)) {
    return later('database_unavailable', 'The database cannot be reached for the moment', error);
  }
  if (typeof code === 'string' && isConnecting(error) && NETWORK.has(code)) {
    return later('unavailable', 'The server cannot reach one of its own services for the moment', error);
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return make('storage_full', 'The server has no room left for files; nothing was kept of this request.', {
      cause: error,
    });
  }
  return undefined;
}

function later(code: ProblemCode, what: string, cause: unknown): Problem {
  const detail = `${what}; try again in ${RETRY_AFTER} seconds.`;
  return make(code, detail, { headers: { 'retry-after': RETRY_AFTER }, cause });
}

/** Class 08, connection exceptions; 57P01 to 57P03, shutting down or starting; 53300, too many connections. */
const DATABASE_AWAY = /^(08\w{3}|57P0[1-3]|53300)$/;
/** node-postgres gives these no code. */
const POOL_AWAY =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;
const NETWORK = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EPIPE',
]);

/** Of our own connections; the client's own, broken one has the message `aborted` or no system call. */
const isConnecting = (error: unknown) => 'syscall' in (error as object) || error instanceof AggregateError;

/** The error and what it wraps: `cause`, TypeORM's `driverError`, the first of several. */
function* chain(error: unknown): Generator<object> {
  let link: unknown = error;
  for (let depth = 0; depth < 5 && typeof link === 'object' && link !== null; depth++) {
    yield link;
    const { cause, driverError } = link as { cause?: unknown; driverError?: unknown };
    link = cause ?? driverError;
  }
}
