import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

export interface ProgressMark {
  /** 0 to 100. */
  readonly percent: number;
  readonly message?: string;
}

const TAIL_BYTES = 4096;
const MAX_MESSAGE = 500;

/** The last whole mark in `text`: lines such as `42 minimising`; undefined when no line is one. */
export function parseProgress(text: string): ProgressMark | undefined {
  for (const line of text.split('\n').reverse()) {
    const match = /^\s*(\d+(?:\.\d+)?)\s*%?(?:\s+(.*\S))?\s*$/.exec(line);
    if (!match) continue;
    const percent = Math.min(100, Number(match[1]));
    return match[2] ? { percent, message: match[2].slice(0, MAX_MESSAGE) } : { percent };
  }
  return undefined;
}

/** Follows the progress that a command writes to its file or says in its log, and tells of each change. */
export class ProgressFollower {
  private seenInFile = '';
  private latest?: ProgressMark;
  private told?: ProgressMark;

  constructor(
    private readonly file: string,
    private readonly tell: (mark: ProgressMark) => void,
  ) {}

  /** It stood in the log; told with the next look. */
  said(mark: ProgressMark): void {
    this.latest = mark;
  }

  look(): void {
    const text = readTail(this.file);
    if (text !== this.seenInFile) this.latest = parseProgress(text) ?? this.latest;
    this.seenInFile = text;
    const mark = this.latest;
    if (!mark || isSame(mark, this.told)) return;
    this.told = mark;
    this.tell(mark);
  }
}

function isSame(mark: ProgressMark, other: ProgressMark | undefined): boolean {
  return mark.percent === other?.percent && mark.message === other.message;
}

/** The command owns the file: a link or a pipe in its place must neither be followed nor block the worker. */
function readTail(file: string): string {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return '';
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) return '';
    const tail = Buffer.alloc(Math.min(TAIL_BYTES, stats.size));
    const read = readSync(fd, tail, 0, tail.length, stats.size - tail.length);
    return tail.toString('utf8', 0, read);
  } catch {
    return '';
  } finally {
    closeSync(fd);
  }
}
