import {
  chmodSync,
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { CHUNK_BYTES } from '#shared/messages/messages.js';
import type { LiveBudget } from './live-budget.js';
import { LOG_MODE } from './spool.js';

export interface Chunk {
  /** Bytes of the stream before it. */
  readonly offset: number;
  /** How many of them, right before it, were left out because the command writes faster than is sent. */
  readonly skipped: number;
  readonly data: Buffer;
}

/** Sends one chunk; what could not be sent is sent again later. @returns whether it was sent */
export type SendChunk = (chunk: Chunk) => Promise<boolean>;

export interface LogSize {
  /** Bytes that were kept. */
  readonly bytes: number;
  /** The command wrote more than the limit. */
  readonly cut: boolean;
}

export interface LogRules {
  /** Bytes of the stream that are kept. */
  readonly limit: number;
  /** What is beyond the limit stays in the file until it is packed. */
  readonly keepFull: boolean;
  readonly budget: LiveBudget;
  /** Called once, when the command has written more than the limit. */
  onLimit(): void;
  /** Sees all that is sent. */
  onChunk?(chunk: Chunk): void;
}

/** Farther behind than this, a follower jumps ahead: live logs are for watching, the whole stands in the file. */
const MAX_LAG_BYTES = 2 ** 20;

/**
 * Follows the file that one output stream of a running command goes to, and keeps it at its limit.
 *
 * It looks at the file when told to: watching by inotify loses changes on overlay and network file systems.
 */
export class LogFollower {
  private fd?: number;
  private sent = 0;
  /** The command is over: nothing more is kept. */
  private size?: LogSize;
  private sending = false;
  private closed = false;
  private cut = false;
  private skipped = 0;

  constructor(
    private readonly file: string,
    private readonly send: SendChunk,
    private readonly rules: LogRules,
  ) {}

  /** One look: sends at most one chunk, and nothing while the last one is under way. */
  look(): void {
    const kept = this.keepWithinLimit();
    if (!this.sending) this.sendOne(kept);
  }

  /** The command is over: what the file holds now is the log. Looks go on to send what was not sent yet. */
  finish(): LogSize {
    const stats = statSync(this.file, { throwIfNoEntry: false });
    if (stats && (stats.mode & LOG_MODE) !== LOG_MODE) chmodSync(this.file, LOG_MODE);
    // A command too short to be followed costs no more than asking for its file's size.
    const bytes = this.fd === undefined ? this.keepUnfollowed(stats?.size ?? 0) : this.keepWithinLimit();
    return (this.size = { bytes, cut: this.cut });
  }

  /** To be called before the file is removed. */
  close(): void {
    this.closed = true;
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }

  private keepUnfollowed(size: number): number {
    const { limit, keepFull } = this.rules;
    if (size <= limit) return size;
    if (!keepFull) truncateSync(this.file, limit);
    this.markCut();
    return limit;
  }

  /** Cutting is final though the command writes on: it appends, so each look cuts what came since. */
  private keepWithinLimit(): number {
    const fd = this.open();
    if (this.size) return this.size.bytes;
    if (fd === undefined) return 0;
    const { size } = fstatSync(fd);
    const { limit, keepFull } = this.rules;
    if (size <= limit) return size;
    if (!keepFull) ftruncateSync(fd, limit);
    this.markCut();
    return limit;
  }

  private markCut(): void {
    if (this.cut) return;
    this.cut = true;
    this.rules.onLimit();
  }

  private sendOne(kept: number): void {
    if (this.fd === undefined || kept <= this.sent) return;
    this.jumpAhead(kept);
    const length = this.rules.budget.take(Math.min(CHUNK_BYTES, kept - this.sent));
    const buffer = Buffer.allocUnsafe(length);
    const read = readSync(this.fd, buffer, 0, length, this.sent);
    if (read === 0) return;
    const chunk = { offset: this.sent, skipped: this.skipped, data: buffer.subarray(0, read) };
    void this.deliver(chunk);
  }

  private async deliver(chunk: Chunk): Promise<void> {
    this.sending = true;
    const sent = await this.send(chunk).catch(() => false);
    this.sending = false;
    if (!sent) return;
    this.sent += chunk.data.length;
    this.skipped = 0;
    this.rules.onChunk?.(chunk);
  }

  private jumpAhead(kept: number): void {
    if (kept - this.sent <= MAX_LAG_BYTES) return;
    const to = kept - CHUNK_BYTES;
    this.skipped += to - this.sent;
    this.sent = to;
  }

  /** The launcher makes the file when it starts the command. */
  private open(): number | undefined {
    if (this.closed) return undefined;
    try {
      return (this.fd ??= openSync(this.file, 'r+'));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      if (code !== 'EACCES') throw error;
      chmodSync(this.file, LOG_MODE);
      return (this.fd = openSync(this.file, 'r+'));
    }
  }
}
