import { Injectable, Optional } from '@nestjs/common';
import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { AddressGuard } from './address-guard.js';
import { CallbackSettings } from './callback-settings.js';
import { retryAfterSeconds } from './retry-schedule.js';
import { signatureHeaders } from './signature.js';

export interface CallbackMessage {
  readonly id: string;
  readonly url: string;
  readonly body: string;
  readonly secrets: readonly string[];
}

/** How one try went; deliveries.ts acts on it. */
export type TryResult =
  | { readonly outcome: 'delivered'; readonly status: number }
  | {
      readonly outcome: 'failed';
      readonly error: string;
      readonly status?: number;
      readonly retryAfterSeconds?: number;
    }
  /** 410: the receiver wants nothing more at this address. */
  | { readonly outcome: 'gone'; readonly status: 410; readonly error: string };

/** The gateway stopped before the receiver had answered: the try does not count. */
export class InterruptedError extends Error {
  constructor() {
    super('the gateway stopped before the receiver had answered');
  }
}

const READ_BYTES = 1024;
const QUOTED_CHARACTERS = 200;
const IDLE_SOCKET_MS = 20_000;
const MAX_IDLE_SOCKETS = 4;
const agentOptions = { keepAlive: true, timeout: IDLE_SOCKET_MS, maxFreeSockets: MAX_IDLE_SOCKETS };

/** Makes one try to reach a receiver. */
@Injectable()
export class CallbackSender {
  private readonly http = new HttpAgent(agentOptions);
  private readonly https = new HttpsAgent(agentOptions);
  private readonly guard: AddressGuard;
  private readonly underWay = new Set<AbortController>();
  private closed = false;

  constructor(
    private readonly settings: CallbackSettings,
    @Optional() guard?: AddressGuard,
  ) {
    this.guard = guard ?? new AddressGuard(settings.allowedNetworks);
  }

  /**
   * Whatever the receiver does is a result.
   * @throws {InterruptedError} `close` was called meanwhile
   */
  async send(message: CallbackMessage): Promise<TryResult> {
    if (this.closed) throw new InterruptedError();
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), this.settings.timeoutMs);
    this.underWay.add(controller);
    try {
      return await judge(await this.post(message, controller.signal));
    } catch (error) {
      if (this.closed) throw new InterruptedError();
      if (controller.signal.aborted) return failure(`no answer within ${this.settings.timeoutMs / 1000} s`);
      return failure((error as Error).message);
    } finally {
      clearTimeout(timer);
      this.underWay.delete(controller);
    }
  }

  /** Ends the tries under way; those and later ones are interrupted. */
  close(): void {
    this.closed = true;
    for (const controller of this.underWay) controller.abort();
    this.http.destroy();
    this.https.destroy();
  }

  private async post(message: CallbackMessage, signal: AbortSignal): Promise<IncomingMessage> {
    const url = new URL(message.url);
    if (url.protocol !== 'https:' && (url.protocol !== 'http:' || this.settings.requireHttps)) {
      throw new Error(
        `this server calls back over ${this.settings.requireHttps ? 'https' : 'http or https'} only`,
      );
    }
    this.guard.checkLiteral(url.hostname);
    const options: RequestOptions = {
      method: 'POST',
      agent: url.protocol === 'https:' ? this.https : this.http,
      lookup: this.guard.lookup,
      signal,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(message.body),
        'user-agent': this.settings.userAgent,
        ...signatureHeaders({ id: message.id, sentAt: new Date(), body: message.body }, message.secrets),
      },
    };
    try {
      return await exchange(url, options, message.body);
    } catch (error) {
      if (!(error instanceof StaleConnectionError)) throw error;
      return await exchange(url, { ...options, agent: false }, message.body);
    }
  }
}

/** A kept connection turned out to have been closed by the receiver: nothing is known to be wrong with it. */
class StaleConnectionError extends Error {}

/** Resolves with the head of the answer; redirects are answers like any other. */
function exchange(url: URL, options: RequestOptions, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, resolve);
    request.on('error', (error: NodeJS.ErrnoException) => {
      const stale = request.reusedSocket && error.code === 'ECONNRESET';
      reject(stale ? new StaleConnectionError() : error);
    });
    request.end(body);
  });
}

async function judge(response: IncomingMessage): Promise<TryResult> {
  const status = response.statusCode!;
  const said = await readStart(response);
  if (status >= 200 && status < 300) return { outcome: 'delivered', status };
  const error = describe(status, said);
  if (status === 410) return { outcome: 'gone', status, error };
  const patience = status === 429 || status === 503 ? response.headers['retry-after'] : undefined;
  return { outcome: 'failed', status, error, retryAfterSeconds: retryAfterSeconds(patience) };
}

/** The status decides; a body that breaks off or drags on changes nothing. */
async function readStart(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= READ_BYTES) break;
    }
  } catch {
    // what has arrived is enough
  }
  return Buffer.concat(chunks).subarray(0, READ_BYTES).toString('utf8');
}

function describe(status: number, said: string): string {
  const redirect = status >= 300 && status < 400 ? '; redirects are not followed' : '';
  const quoted = printable(said);
  return `the receiver answered ${status}${redirect}${quoted && `: ${quoted}`}`;
}

const failure = (error: string): TryResult => ({ outcome: 'failed', error: printable(error) });

function printable(text: string): string {
  const clean = text.replace(/[\p{C}\s]+/gu, ' ').trim();
  return [...clean].slice(0, QUOTED_CHARACTERS).join('');
}
