import { closeSync, constants, fstatSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';

/** With its newline; keys are shorter by far. */
const LINE_BYTES = 64;
const NOBODY = '';

/**
 * Who has which of the numbered sets of files, in a file that outlives the process. Its lines have one length: one
 * takes or frees a set with a single small write, where a name on the disk would have to be made or changed.
 */
export class HeldTable {
  private fd?: number;

  /** Takes its place on the disk at once, that of 64 sets and more: a disk that fills up later refuses no attempt. */
  constructor(private readonly file: string) {
    this.fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600);
    if (fstatSync(this.fd).size === 0) this.free(0);
  }

  /** Holders by the numbers of their sets. */
  read(): Map<number, string> {
    const held = new Map<number, string>();
    const text = readFileSync(this.file, 'latin1');
    for (let number = 0; number * LINE_BYTES < text.length; number++) {
      const line = text.slice(number * LINE_BYTES, (number + 1) * LINE_BYTES).trim();
      if (line !== NOBODY) held.set(number, line);
    }
    return held;
  }

  /** @throws {RangeError} no line has room for the key */
  take(number: number, key: string): void {
    if (key.length >= LINE_BYTES) throw new RangeError(`${key} is longer than ${LINE_BYTES - 1} characters`);
    this.write(number, key);
  }

  free(number: number): void {
    this.write(number, NOBODY);
  }

  /** @param empty nobody has anything: the file goes too */
  close(empty: boolean): void {
    if (this.fd === undefined) return;
    closeSync(this.fd);
    this.fd = undefined;
    if (empty) unlinkSync(this.file);
  }

  private write(number: number, text: string): void {
    if (this.fd === undefined) throw new Error(`${this.file} is closed`);
    writeSync(this.fd, `${text.padEnd(LINE_BYTES - 1)}\n`, number * LINE_BYTES, 'latin1');
  }
}
