import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ReceivedCallback {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly response: ServerResponse;
}

/** What the receiver does with a callback; by default it answers 204. */
export type Answer = (received: ReceivedCallback, number: number) => void;

/** A real HTTP server that keeps what arrives and answers as the test says. */
export class CallbackReceiver {
  readonly received: ReceivedCallback[] = [];
  answer: Answer = ({ response }) => response.writeHead(204).end();
  private readonly server = createServer((request, response) => void this.take(request, response));
  private waiting: { count: number; resolve: () => void }[] = [];

  static async listen(port = 0): Promise<CallbackReceiver> {
    const receiver = new CallbackReceiver();
    await new Promise<void>((resolve) => receiver.server.listen(port, '127.0.0.1', resolve));
    return receiver;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  url(path = '/hook'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** Resolves once that many callbacks have arrived in all. */
  async has(count: number): Promise<void> {
    if (this.received.length >= count) return;
    await new Promise<void>((resolve) => this.waiting.push({ count, resolve }));
  }

  ids(): string[] {
    return this.received.map(({ headers }) => String(headers['webhook-id']));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('utf8');
    const received = { path: request.url!, headers: request.headers, body, response };
    this.received.push(received);
    this.answer(received, this.received.length);
    this.waiting = this.waiting.filter(({ count, resolve }) => {
      if (this.received.length >= count) resolve();
      return this.received.length < count;
    });
  }
}

/** Answers with this status and, where given, these headers and body. */
export const answering =
  (status: number, headers: Record<string, string> = {}, body = ''): Answer =>
  ({ response }) =>
    response.writeHead(status, headers).end(body);
