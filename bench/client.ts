import { Agent, request, type IncomingMessage, type RequestOptions } from 'node:http';
import type { Readable } from 'node:stream';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';

export interface LogEvent {
  readonly event: string;
  readonly data: { readonly text?: string };
}

/** Talks to a gateway over connections that are kept, with as little work of its own as can be. */
export class BenchClient {
  private readonly agent = new Agent({ keepAlive: true, noDelay: true });
  private readonly address: Pick<RequestOptions, 'host' | 'port'>;

  constructor(
    url: string,
    private readonly key: string,
  ) {
    const { hostname, port } = new URL(url);
    this.address = { host: hostname, port };
  }

  /** @throws {Error} it is not accepted */
  async submit(job: JobSpecInput, headers: Record<string, string> = {}): Promise<JobView> {
    const body = JSON.stringify(job);
    const answer = await this.call(
      'POST',
      '/v1/jobs',
      {
        ...headers,
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
      },
      body,
    );
    return JSON.parse(await textOf(answer)) as JobView;
  }

  /** As multipart, with one file whose content is streamed. @param bytes of the content */
  async upload(job: JobSpecInput, name: string, content: Readable, bytes: number): Promise<JobView> {
    const boundary = 'labhand-bench-boundary';
    const head =
      `--${boundary}\r\ncontent-disposition: form-data; name="job"\r\n\r\n${JSON.stringify(job)}\r\n` +
      `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n` +
      'content-type: application/octet-stream\r\n\r\n';
    const tail = `\r\n--${boundary}--\r\n`;
    const answer = await this.call(
      'POST',
      '/v1/jobs',
      {
        'content-type': `multipart/form-data; boundary=${boundary}`,
        'content-length': String(head.length + bytes + tail.length),
      },
      head,
      content,
      tail,
    );
    return JSON.parse(await textOf(answer)) as JobView;
  }

  async read(path: string): Promise<JobView> {
    return JSON.parse(await textOf(await this.call('GET', path))) as JobView;
  }

  /** A verb on a job, such as `cancel`. */
  async ask(id: string, verb: string): Promise<JobView> {
    return JSON.parse(
      await textOf(await this.call('POST', `/v1/jobs/${id}/${verb}`, { 'content-length': '0' })),
    ) as JobView;
  }

  /** What a job writes, as it comes, up to its end. */
  async *follow(id: string): AsyncGenerator<LogEvent> {
    const answer = await this.call('GET', `/v1/jobs/${id}/logs?follow=1`);
    let text = '';
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      const blocks = (text + chunk.toString()).split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const [, event, data] = /^event: (.*)\nid: .*\ndata: (.*)$/.exec(block) ?? [];
        if (event && data) yield { event, data: JSON.parse(data) as LogEvent['data'] };
      }
    }
  }

  /** Reads a file to its end and forgets it; how many bytes came. */
  async download(path: string): Promise<number> {
    const answer = await this.call('GET', path);
    let bytes = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) bytes += chunk.length;
    return bytes;
  }

  close(): void {
    this.agent.destroy();
  }

  private call(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    head = '',
    content?: Readable,
    tail = '',
  ): Promise<IncomingMessage> {
    const { host, port } = this.address;
    const all = {
      host: `${host}:${port}`,
      connection: 'keep-alive',
      ...headers,
      authorization: `Bearer ${this.key}`,
    };
    const options: RequestOptions = {
      host,
      port,
      method,
      path,
      agent: this.agent,
      // As a list they are sent as they are, without a look at each: a third of the client's time.
      headers: Object.entries(all).flat(),
    };
    return new Promise((resolve, reject) => {
      const call = request(options, (answer) => {
        if (answer.statusCode! < 300) return resolve(answer);
        textOf(answer).then(
          (text) => reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`)),
          reject,
        );
      });
      call.on('error', reject);
      if (!content) return void call.end(head);
      call.write(head);
      content.on('error', reject);
      content.on('end', () => call.end(tail));
      content.pipe(call, { end: false });
    });
  }
}

/** By its events: an iterator of a stream costs as much as the request. */
function textOf(answer: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (chunk: string) => (text += chunk));
    answer.on('end', () => resolve(text));
    answer.on('error', reject);
  });
}
