import { closeSync, fstatSync, ftruncateSync, openSync, readSync, statSync, truncateSync } from 'node:fs';

/** Sends one chunk; a failure drops the chunk, and the next one's offset shows the gap. */
export type SendChunk = (offset: number, chunk: Buffer) => Promise<void>;

export interface LogSize {
  /** Bytes that were kept. */
  readonly bytes: number;
  /** The command wrote more than the limit. */
  readonly cut: boolean;
}

const CHUNK_BYTES = 256 * 1024;
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
  private sending = false;
  private cut = false;

  constructor(
    private readonly file: string,
    private readonly limit: number,
    private readonly send: SendChunk,
    private readonly onLimit: () => void,
  ) {}

  /** One look: sends at most one chunk, and nothing while the last one is under way. */
  look(): void {
    const kept = this.keepWithinLimit();
    if (!this.sending) this.sendOne(kept);
  }

  /** The last look: sends what is left, as far as that is for watching. */
  finish(): LogSize {
    if (this.fd === undefined) return this.finishUnfollowed();
    const bytes = this.keepWithinLimit();
    while (this.sendOne(bytes));
    closeSync(this.fd);
    this.fd = undefined;
    return { bytes, cut: this.cut };
  }

  /** A command too short to be followed costs no more than asking for its file's size. */
  private finishUnfollowed(): LogSize {
    const size = statSync(this.file, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= this.limit) return { bytes: size, cut: this.cut };
    truncateSync(this.file, this.limit);
    this.markCut();
    return { bytes: this.limit, cut: true };
  }

  /** Cutting is final though the command writes on: it appends, so each look cuts what came since. */
  private keepWithinLimit(): number {
    const fd = this.open();
    if (fd === undefined) return 0;
    const { size } = fstatSync(fd);
    if (size <= this.limit) return size;
    ftruncateSync(fd, this.limit);
    this.markCut();
    return this.limit;
  }

  private markCut(): void {
    if (this.cut) return;
    this.cut = true;
    this.onLimit();
  }

  private sendOne(kept: number): boolean {
    if (this.fd === undefined || kept <= this.sent) return false;
    if (kept - this.sent > MAX_LAG_BYTES) this.sent = kept - CHUNK_BYTES;
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, kept - this.sent));
    const read = readSync(this.fd, chunk, 0, chunk.length, this.sent);
    if (read === 0) return false;
    const offset = this.sent;
    this.sent += read;
    this.sending = true;
    void this.send(offset, chunk.subarray(0, read))
      .catch(() => undefined)
      .finally(() => {
        this.sending = false;
      });
    return true;
  }

  /** The launcher makes the file when it starts the command. */
  private open(): number | undefined {
    try {
      return (this.fd ??= openSync(this.file, 'r+'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }
}
