import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { Readable, Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { AttemptRef } from '#shared/messages/messages.js';
import { retrying } from './retry.js';
import type { Upload } from './spool.js';

/** The gateway says that the attempt is not, or no longer, this worker's. */
export class StaleAttemptError extends Error {}

/** The gateway refused, and would again. */
export class FileRefusedError extends Error {}

/** What arrived is not what was announced. */
class WrongContentError extends Error {}

/** An attempt as its files are asked for. */
export interface FileAccess extends AttemptRef {
  readonly filesToken: string;
}

/** Milliseconds without a byte in either direction. */
const SILENCE_MS = 120_000;
/** Milliseconds that inputs are tried for: longer than a gateway takes to be replaced. */
const FETCH_PATIENCE_MS = 5 * 60_000;

/** The files of attempts at the gateway: inputs come from there, outputs and long logs go there. */
export class FilesClient {
  constructor(private readonly gatewayUrl: string) {}

  /**
   * Fetches a file to `target`, checking its hash on the way.
   * @throws {StaleAttemptError}
   * @throws {FileRefusedError} or the last failure after five minutes of trying
   */
  async fetch(
    access: FileAccess,
    file: { href: string; sha256?: string; executable?: boolean },
    target: string,
    signal: AbortSignal,
  ): Promise<void> {
    await retrying(() => this.fetchOnce(access, file, target, signal), {
      signal,
      mayPass: isPassing,
      limitMs: FETCH_PATIENCE_MS,
    });
  }

  /**
   * Uploads one file of an attempt; repeated while the gateway is away, as long as it takes.
   * @throws {StaleAttemptError}
   * @throws {FileRefusedError}
   */
  async put(access: FileAccess, name: Upload, file: string, signal: AbortSignal): Promise<void> {
    const { size } = await stat(file);
    const content = { file, size, digest: await contentDigest(file, size) };
    await retrying(() => this.putOnce(access, name, content, signal), { signal, mayPass: isPassing });
  }

  /**
   * Uploads a part of a running attempt's file for a client that waits for it: tried once.
   * @throws when it could not be stored, or `content` had fewer bytes than `size`
   */
  async putPart(access: FileAccess, transfer: string, content: Readable, size: number): Promise<void> {
    const path = `/v1/attempts/${access.jobId}/${access.attempt}/partial/${transfer}`;
    const headers = {
      ...bearer(access),
      'content-type': 'application/octet-stream',
      'content-length': size,
    };
    const response = await this.send('PUT', path, headers, content.pipe(exactly(size)));
    await refuseFaults(response, path);
    response.resume();
  }

  private async fetchOnce(
    access: FileAccess,
    file: { href: string; sha256?: string; executable?: boolean },
    target: string,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.send('GET', file.href, bearer(access), undefined, signal);
    await refuseFaults(response, file.href);
    const hash = createHash('sha256');
    await pipeline(
      response,
      tap((chunk) => hash.update(chunk)),
      createWriteStream(target, { mode: file.executable ? 0o755 : 0o644 }),
      { signal },
    );
    if (file.sha256 !== undefined && hash.digest('hex') !== file.sha256) {
      throw new WrongContentError(`what came from ${file.href} does not have the sha256 ${file.sha256}`);
    }
  }

  private async putOnce(
    access: FileAccess,
    name: Upload,
    { file, size, digest }: { file: string; size: number; digest: string },
    signal: AbortSignal,
  ): Promise<void> {
    const path = `/v1/attempts/${access.jobId}/${access.attempt}/${name}`;
    const headers = {
      ...bearer(access),
      'content-type': CONTENT_TYPES[name],
      'content-length': size,
      'content-digest': digest,
    };
    const body = size === 0 ? Readable.from([]) : createReadStream(file, { end: size - 1 });
    const response = await this.send('PUT', path, headers, body, signal);
    await refuseFaults(response, path);
    response.resume();
  }

  /** Node's own client and not `fetch`, which takes 600 MB to send a file of half a GiB. */
  private async send(
    method: 'GET' | 'PUT',
    path: string,
    headers: OutgoingHttpHeaders,
    body: Readable | undefined,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const address = `${this.gatewayUrl}${path.startsWith('/') ? '' : '/'}${path}`;
    const { request } = address.startsWith('https:') ? await import('node:https') : await import('node:http');
    const sending = request(address, { method, headers, signal, timeout: SILENCE_MS });
    sending.on('timeout', () => sending.destroy(new Error(`${path} was silent for ${SILENCE_MS / 1000} s`)));
    return new Promise((resolve, reject) => {
      // An answer may come before the body is through: a refusal. What then becomes of the body does not matter.
      sending.on('response', resolve);
      sending.on('error', reject);
      if (body) pipeline(body, sending).catch(reject);
      else sending.end();
    });
  }
}

const CONTENT_TYPES: Readonly<Record<Upload, string>> = {
  'outputs.zip': 'application/zip',
  'outputs.json': 'application/json',
  stdout: 'application/octet-stream',
  stderr: 'application/octet-stream',
};

function bearer({ filesToken }: FileAccess): Record<string, string> {
  return { authorization: `Bearer ${filesToken}` };
}

/** RFC 9530. A network may spoil what TCP's own sum does not tell from the original. */
async function contentDigest(file: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  if (size > 0) await pipeline(createReadStream(file, { end: size - 1 }), hash);
  return `sha-256=:${hash.digest('base64')}:`;
}

/**
 * 408 and 429 ask to come again, and 400 says that what arrived is not what was sent; the other 4xx would be the same
 * next time.
 */
async function refuseFaults(response: IncomingMessage, path: string): Promise<void> {
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return;
  const detail = await detailOf(response);
  // Ends an upload whose body is still on its way.
  response.destroy();
  const sentence = `the gateway answered ${status} to ${path}${detail ? ` (${detail})` : ''}`;
  if (status === 401 || status === 409) throw new StaleAttemptError(sentence);
  const comesAgain = status >= 500 || [400, 408, 429].includes(status);
  throw comesAgain ? new Error(sentence) : new FileRefusedError(sentence);
}

/** What a problem+json body says. */
async function detailOf(response: IncomingMessage): Promise<string> {
  try {
    const problem = JSON.parse(await text(response)) as { detail?: string; title?: string };
    return String(problem.detail ?? problem.title ?? '').slice(0, 500);
  } catch {
    return '';
  }
}

function isPassing(error: unknown): boolean {
  return !(error instanceof StaleAttemptError || error instanceof FileRefusedError);
}

/** Fails at the end of what is shorter: the other side would wait for the rest. */
function exactly(size: number): Transform {
  let left = size;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length;
      done(null, chunk);
    },
    flush(done) {
      done(left === 0 ? null : new Error('a file became shorter while it was read'));
    },
  });
}

function tap(see: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      see(chunk);
      done(null, chunk);
    },
  });
}
