import type { Chunk } from './log-follower.js';
import { parseProgress, type ProgressMark } from './progress.js';

const WORD = '::progress ';
/** A line that is longer is no mark; nothing of it is kept. */
const MAX_LINE_BYTES = 1024;
const NEWLINE = 0x0a;

/** Finds lines such as `::progress 42 minimising` in what a command writes. They stay in its log. */
export class ProgressLines {
  /** A line that is not complete yet; undefined where its beginning was not seen, or it is too long. */
  private begun: Buffer | undefined = Buffer.alloc(0);

  constructor(private readonly tell: (mark: ProgressMark) => void) {}

  read({ data, skipped }: Pick<Chunk, 'data' | 'skipped'>): void {
    if (skipped > 0) this.begun = undefined;
    const end = data.lastIndexOf(NEWLINE);
    if (end < 0) return this.keep(data);
    const first = data.indexOf(NEWLINE) + 1;
    if (this.begun) this.lines(Buffer.concat([this.begun, data.subarray(0, first)]));
    if (end >= first) this.lines(data.subarray(first, end + 1));
    this.begun = Buffer.alloc(0);
    this.keep(data.subarray(end + 1));
  }

  private keep(part: Buffer): void {
    if (!this.begun || part.length === 0) return;
    const line = Buffer.concat([this.begun, part.subarray(0, MAX_LINE_BYTES)]);
    this.begun = line.length < MAX_LINE_BYTES ? line : undefined;
  }

  /** The last mark counts. Most output has none: a search for the word is all that it costs. */
  private lines(text: Buffer): void {
    for (let at = text.lastIndexOf(WORD); at >= 0; at = at === 0 ? -1 : text.lastIndexOf(WORD, at - 1)) {
      if (at > 0 && text[at - 1] !== NEWLINE) continue;
      const line = text.subarray(at + WORD.length, text.indexOf(NEWLINE, at));
      const mark = line.length > MAX_LINE_BYTES ? undefined : parseProgress(line.toString());
      if (mark) return this.tell(mark);
    }
  }
}
