import type { FastifyReply, FastifyRequest } from 'fastify';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { Problem } from '../http/problem.js';
import { parseRange, type Span } from './byte-range.js';
import { attachment, contentType } from './content-type.js';

export interface SentFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Changes whenever the content does. */
  readonly version: string;
  open(span: Span): Promise<Readable>;
}

/**
 * Answers GET and HEAD of a file, or of the one range that was asked for.
 * @throws {Problem} 416
 */
export async function sendFile(request: FastifyRequest, reply: FastifyReply, file: SentFile): Promise<void> {
  const etag = `"${file.version}"`;
  const { headers } = request;
  void reply.headers({
    etag,
    'accept-ranges': 'bytes',
    'cache-control': 'private, no-cache',
    'content-type': contentType(file.name),
    // Jobs write what they like: nothing of it may run as a page of this server.
    'content-disposition': attachment(basename(file.name)),
    'x-content-type-options': 'nosniff',
    'content-security-policy': "sandbox; default-src 'none'",
  });
  if (matches(headers['if-none-match'], etag)) {
    void reply.status(304).send();
    return;
  }
  const ifRange = headers['if-range'];
  const range = ifRange === undefined || ifRange === etag ? parseRange(headers.range, file.size) : undefined;
  if (range === 'unsatisfiable') throw outside(file);
  const span = range ?? { start: 0, end: file.size - 1 };
  const body = request.method === 'HEAD' ? Readable.from([]) : await file.open(span);
  if (range) void reply.header('content-range', `bytes ${span.start}-${span.end}/${file.size}`);
  void reply
    .status(range ? 206 : 200)
    .header('content-length', span.end - span.start + 1)
    .send(body);
}

function matches(header: string | undefined, etag: string): boolean {
  return header?.split(',').some((one) => [etag, '*'].includes(one.trim().replace(/^W\//, ''))) ?? false;
}

function outside({ name, size }: SentFile): Problem {
  return new Problem(
    416,
    'range_not_satisfiable',
    `The file ${JSON.stringify(name)} has ${size} bytes, and the range begins after them; ask for a range inside.`,
    { headers: { 'content-range': `bytes */${size}` } },
  );
}
