/**
 * The faults that clients are told of: each stable code has one status and one title. Domain code throws a
 * `Problem`; only problem.filter.ts knows how it becomes an answer.
 */
export const PROBLEMS = {
  bad_request: { status: 400, title: 'Bad request' },
  invalid_json: { status: 400, title: 'The body is not JSON' },
  invalid_multipart: { status: 400, title: 'The multipart body cannot be read' },
  body_incomplete: { status: 400, title: 'The body ended early' },
  unauthenticated: { status: 401, title: 'An API key is needed' },
  forbidden: { status: 403, title: 'This key may not do that' },
  not_found: { status: 404, title: 'Not found' },
  no_outputs: { status: 404, title: 'The job has no output files' },
  unknown_route: { status: 404, title: 'No such route' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  not_acceptable: { status: 406, title: 'Not acceptable' },
  request_timeout: { status: 408, title: 'The request took too long' },
  conflict: { status: 409, title: 'Conflict' },
  state_conflict: { status: 409, title: 'The state of the job forbids that' },
  worker_unreachable: { status: 409, title: 'The worker of the job does not answer' },
  stale_attempt: { status: 409, title: 'The attempt is no longer current' },
  idempotency_in_progress: { status: 409, title: 'The first request with this key is still running' },
  gone: { status: 410, title: 'Gone' },
  precondition_failed: { status: 412, title: 'Precondition failed' },
  payload_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  range_not_satisfiable: { status: 416, title: 'The range lies outside the file' },
  invalid_request: { status: 422, title: 'The request is not valid' },
  unknown_queue: { status: 422, title: 'No such queue' },
  invalid_path: { status: 422, title: 'A path is not valid' },
  invalid_archive: { status: 422, title: 'An archive cannot be used' },
  idempotency_mismatch: { status: 422, title: 'The idempotency key belongs to another request' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  internal_error: { status: 500, title: 'Internal error' },
  unavailable: { status: 503, title: 'Unavailable for the moment' },
  database_unavailable: { status: 503, title: 'The database cannot be reached' },
  broker_unavailable: { status: 503, title: 'The message broker cannot be reached' },
  draining: { status: 503, title: 'The server is shutting down' },
  queue_full: { status: 503, title: 'The queue is full' },
  storage_full: { status: 507, title: 'The storage is full' },
} as const;

export type ProblemCode = keyof typeof PROBLEMS;

/** One fault of a field; `path` reads like `inputs[2].path`, empty for the whole. */
export interface FieldError {
  readonly path: string;
  readonly message: string;
}

export interface ProblemOptions {
  readonly errors?: readonly FieldError[];
  /** Sent with the answer, such as `Retry-After`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** For the log only; never sent. */
  readonly cause?: unknown;
}

/**
 * A fault that the client is told of.
 *
 * `status` is the code's own: naming it makes the throw readable, and the compiler refuses a pair that the table
 * does not know. `detail` is a whole sentence: what was wrong, what was expected, what to do.
 */
export class Problem<C extends ProblemCode = ProblemCode> extends Error {
  readonly title: string;
  readonly errors?: readonly FieldError[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    readonly status: (typeof PROBLEMS)[C]['status'],
    readonly code: C,
    readonly detail: string,
    options: ProblemOptions = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.title = PROBLEMS[code].title;
    this.errors = options.errors;
    this.headers = options.headers ?? {};
  }
}
