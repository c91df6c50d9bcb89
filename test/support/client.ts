import type { JobView } from '#gateway/jobs/job-view.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';

export interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

export interface ProblemBody {
  readonly code: string;
  readonly status: number;
  readonly detail: string;
  readonly errors?: readonly { path: string; message: string }[];
}

export type FilePart = readonly [part: 'file' | 'archive', path: string, content: string | Uint8Array];

/** How tests talk to a gateway: plain requests with a key, bodies parsed by what they say they are. */
export class Client {
  constructor(
    readonly url: string,
    private readonly key: string | undefined,
  ) {}

  async request<T = JobView>(method: string, path: string, init: RequestInit = {}): Promise<Answer<T>> {
    const headers = new Headers(init.headers);
    if (this.key) headers.set('authorization', `Bearer ${this.key}`);
    const response = await fetch(this.url + path, { ...init, method, headers });
    const type = response.headers.get('content-type') ?? '';
    const body = /json/.test(type) ? await response.json() : Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, body: body as T };
  }

  get<T = JobView>(path: string, headers: Record<string, string> = {}): Promise<Answer<T>> {
    return this.request<T>('GET', path, { headers });
  }

  post<T = JobView>(path: string, json?: unknown, headers: Record<string, string> = {}): Promise<Answer<T>> {
    return this.request<T>('POST', path, {
      body: json === undefined ? undefined : JSON.stringify(json),
      headers: json === undefined ? headers : { 'content-type': 'application/json', ...headers },
    });
  }

  /** As multipart: the job first, then files. */
  upload<T = JobView>(
    job: JobSpecInput | string,
    files: readonly FilePart[],
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const form = new FormData();
    form.append('job', typeof job === 'string' ? job : JSON.stringify(job));
    for (const [part, path, content] of files) form.append(part, new Blob([content]), path);
    return this.request<T>('POST', '/v1/jobs', { body: form, headers });
  }

  /** Submits and waits for the end. */
  async run(job: JobSpecInput): Promise<JobView> {
    const { body } = await this.post('/v1/jobs', job, { prefer: 'wait=50' });
    return body;
  }

  async text(path: string): Promise<string> {
    return (await this.get<Buffer>(path)).body.toString();
  }
}
