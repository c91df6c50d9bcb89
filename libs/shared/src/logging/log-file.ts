import { mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Letters of lines that are written at once, though the turn goes on. */
const MOST_KEPT = 4096;
/** Milliseconds until a reader of a full pipe is given more. */
const PIPE_FULL_MS = 10;

/**
 * What is logged in one turn of the event loop leaves in one write, and at the latest when the process exits. A full
 * disk, or a reader that is gone, costs lines of the log and not the service.
 */
export class LogFile {
  private readonly fd: number;
  private kept = '';
  private leaving = false;

  /** @param file a descriptor, or a path: of a file that only its owner may read */
  constructor(file: number | string) {
    if (typeof file === 'string') mkdirSync(dirname(file), { recursive: true });
    this.fd = typeof file === 'string' ? openSync(file, 'a', 0o600) : file;
    process.on('exit', () => this.flush());
  }

  write(line: string): void {
    this.kept += line;
    if (this.kept.length >= MOST_KEPT) return this.flush();
    if (!this.leaving) setImmediate(() => this.flush());
    this.leaving = true;
  }

  private flush(): void {
    this.leaving = false;
    let left = Buffer.from(this.kept);
    this.kept = '';
    try {
      while (left.length > 0) left = left.subarray(this.writeSome(left));
    } catch {
      // Nobody can be told: this is the log.
    }
  }

  private writeSome(bytes: Buffer): number {
    try {
      return writeSync(this.fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PIPE_FULL_MS);
      return 0;
    }
  }
}
