import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { RequestTimeoutError, UnroutableError } from '#shared/channel/broker.js';
import { ChannelClient, RemoteError } from '#shared/channel/channel-client.js';
import type { ListReply } from '#shared/messages/messages.js';
import { Problem } from '../http/problem.js';
import { partialKey } from './blob-keys.js';
import { BlobStore } from './blob-store.js';
import type { Span } from './byte-range.js';

/** Bytes that are fetched of a running job's file at once; more by ranges. */
export const MOST_PARTIAL_BYTES = 256 * 2 ** 20;

const LIST_MS = 5_000;
/** The worker answers when all is stored: 256 MiB over a slow network. */
const FETCH_MS = 120_000;

/** An attempt whose command runs. */
export interface RunningAttempt {
  readonly jobId: string;
  readonly attempt: number;
  readonly workerId: string;
}

export type PartialFile = NonNullable<ListReply['files']>[number];

/**
 * The files of running attempts, which only their workers have. A worker is asked over its control channel and
 * answers there; bytes go through the blob store, because they may come to another gateway than the one that asked.
 */
@Injectable()
export class PartialFiles {
  constructor(
    private readonly channel: ChannelClient,
    private readonly store: BlobStore,
  ) {}

  /**
   * What would be the outputs if the command ended now.
   * @param path only this one
   * @throws {Problem} 409 `worker_unreachable`
   */
  async list(
    { jobId, attempt, workerId }: RunningAttempt,
    path?: string,
  ): Promise<{ files: PartialFile[]; more: boolean }> {
    const order = { jobId, attempt, path };
    const { files, more } = await this.channel
      .ask('list', order, { to: workerId, timeoutMs: LIST_MS })
      .catch(unheard);
    return { files: files ?? [], more };
  }

  /**
   * A span of a listed file.
   * @throws {Problem} 409 `worker_unreachable`; 409 `conflict` when the file is not there any more; 413
   */
  async read({ jobId, attempt, workerId }: RunningAttempt, path: string, span: Span): Promise<Readable> {
    if (span.end - span.start >= MOST_PARTIAL_BYTES) throw tooLarge();
    const transfer = randomUUID();
    const key = partialKey(jobId, transfer);
    try {
      const order = { jobId, attempt, path, ...span, transfer };
      const { status } = await this.channel
        .ask('fetch', order, { to: workerId, timeoutMs: FETCH_MS })
        .catch(unheard);
      if (status === 'gone') throw changed(path);
      const content = await this.store.read(key);
      content.once('close', () => this.forget(key));
      return content;
    } catch (error) {
      this.forget(key);
      throw error;
    }
  }

  /** What is left when this fails is removed with the orphans. */
  private forget(key: string): void {
    this.store.remove(key).catch(() => undefined);
  }
}

function unheard(error: unknown): never {
  const why = whyUnheard(error);
  if (!why) throw error;
  throw new Problem(
    409,
    'worker_unreachable',
    `The worker that runs the job has its files, and ${why}; try again, or wait for the job to end.`,
    { cause: error },
  );
}

function whyUnheard(error: unknown): string | undefined {
  if (error instanceof UnroutableError) return 'is not connected';
  if (error instanceof RequestTimeoutError) return 'did not answer in time';
  return error instanceof RemoteError ? 'could not send them' : undefined;
}

function changed(path: string): Problem {
  return new Problem(
    409,
    'conflict',
    `The running command has removed or shortened the file ${JSON.stringify(path.slice(0, 200))}; list the files again.`,
  );
}

function tooLarge(): Problem {
  return new Problem(
    413,
    'payload_too_large',
    `Of a running job's file at most ${MOST_PARTIAL_BYTES} bytes are sent at once; ask for a part of it with the header Range.`,
  );
}
