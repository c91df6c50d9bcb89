import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
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
    await retrying(() => this.putOnce(access, name, { file, size }, signal), { signal, mayPass: isPassing });
  }

  private async fetchOnce(
    access: FileAccess,
    file: { href: string; sha256?: string; executable?: boolean },
    target: string,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await fetch(this.address(file.href), { headers: bearer(access), signal });
    await refuseFaults(response, file.href);
    const hash = createHash('sha256');
    const body = response.body ? Readable.fromWeb(response.body) : Readable.from([]);
    await pipeline(
      body,
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
    { file, size }: { file: string; size: number },
    signal: AbortSignal,
  ): Promise<void> {
    const path = `/v1/attempts/${access.jobId}/${access.attempt}/${name}`;
    // Empty streams would be sent chunked, without the length that the gateway expects.
    const body = size === 0 ? '' : createReadStream(file, { end: size - 1 });
    const response = await fetch(this.address(path), {
      method: 'PUT',
      headers: {
        ...bearer(access),
        'content-type': CONTENT_TYPES[name],
        'content-length': String(size),
      },
      body: body as RequestInit['body'],
      duplex: 'half',
      signal,
    });
    await refuseFaults(response, path);
    await response.body?.cancel();
  }

  private address(href: string): string {
    return /^https?:\/\//.test(href) ? href : `${this.gatewayUrl}${href.startsWith('/') ? '' : '/'}${href}`;
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

/** 408 and 429 ask to come again; the other 4xx would be the same next time. */
async function refuseFaults(response: Response, path: string): Promise<void> {
  if (response.ok) return;
  const detail = await detailOf(response);
  const sentence = `the gateway answered ${response.status} to ${path}${detail ? ` (${detail})` : ''}`;
  if (response.status === 401 || response.status === 409) throw new StaleAttemptError(sentence);
  const comesAgain = response.status >= 500 || response.status === 408 || response.status === 429;
  throw comesAgain ? new Error(sentence) : new FileRefusedError(sentence);
}

/** What a problem+json body says; reading it to its end also frees the connection. */
async function detailOf(response: Response): Promise<string> {
  try {
    const problem = JSON.parse(await response.text()) as { detail?: string; title?: string };
    return String(problem.detail ?? problem.title ?? '').slice(0, 500);
  } catch {
    return '';
  }
}

function isPassing(error: unknown): boolean {
  return !(error instanceof StaleAttemptError || error instanceof FileRefusedError);
}

function tap(see: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      see(chunk);
      done(null, chunk);
    },
  });
}
