import { isUtf8 } from 'node:buffer';
import type { StreamName } from './live-logs.js';

const PATIENCE_MS = 1000;

/** What a follower is told of one output stream. */
export type StreamNews =
  | {
      readonly event: StreamName;
      readonly data: { at: number; text: string } | { at: number; base64: string };
    }
  | { readonly event: 'gap'; readonly data: { stream: StreamName; from: number; to: number } };

/** How far a follower has come in one output stream: makes text of bytes, cutting no character in two. */
export class FollowedStream {
  /** Bytes of a character that is not complete yet. */
  private rest: Buffer = Buffer.alloc(0);
  private missingSince?: number;

  /**
   * @param place bytes that the follower has already
   * @param midway the place may lie within a character
   */
  constructor(
    readonly name: StreamName,
    private place: number,
    private midway = false,
  ) {}

  /** Bytes that the follower has been told of: where it goes on when it comes back. */
  get told(): number {
    return this.place;
  }

  /** Where reading goes on. */
  get end(): number {
    return this.place + this.rest.length;
  }

  /**
   * Whether what is missing before a chunk may still be on its way: two gateways write what one worker sends. What
   * the worker itself left out is not waited for, the rest not for long.
   * @param now milliseconds
   */
  waitsBefore({ at, skipped }: { at: number; skipped: number }, now: number): boolean {
    const isMissing = at - skipped > this.end;
    this.missingSince = isMissing ? (this.missingSince ?? now) : undefined;
    if (this.missingSince === undefined || now - this.missingSince < PATIENCE_MS) return isMissing;
    this.missingSince = undefined;
    return false;
  }

  /** The next bytes; those that the follower has are passed over, missing ones are told as a gap. */
  *take(at: number, data: Buffer): Generator<StreamNews> {
    const known = Math.max(0, this.end - at);
    if (known >= data.length) return;
    if (at > this.end) {
      yield* this.flush();
      const from = this.place;
      this.place = at;
      data = this.fromCharacter(data);
      yield { event: 'gap', data: { stream: this.name, from, to: this.place } };
    } else {
      data = data.subarray(known);
      if (this.midway) data = this.fromCharacter(data);
    }
    this.midway = false;
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, data]) : data;
    const complete = bytes.length - halfCharacter(bytes);
    // A copy: the chunk that it lies in may be large.
    this.rest = Buffer.from(bytes.subarray(complete));
    yield* this.tell(bytes.subarray(0, complete));
  }

  /** Nothing more comes: what is left is no character. */
  *flush(): Generator<StreamNews> {
    const { rest } = this;
    this.rest = Buffer.alloc(0);
    yield* this.tell(rest);
  }

  private *tell(bytes: Buffer): Generator<StreamNews> {
    if (bytes.length === 0) return;
    const at = this.place;
    this.place += bytes.length;
    const data = isUtf8(bytes)
      ? { at, text: bytes.toString('utf8') }
      : { at, base64: bytes.toString('base64') };
    yield { event: this.name, data };
  }

  /** Without the end of a character whose beginning is not there. */
  private fromCharacter(data: Buffer): Buffer {
    let length = 0;
    while (length < 3 && length < data.length && isContinuation(data[length]!)) length++;
    this.place += length;
    return data.subarray(length);
  }
}

/** Bytes at the end that begin a UTF-8 character and do not complete it. */
function halfCharacter(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (!isContinuation(byte)) return lengthOf(byte) > back ? back : 0;
  }
  return 0;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** Of the character that begins with this byte. */
function lengthOf(lead: number): number {
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  if (lead >= 0xe0) return lead < 0xf0 ? 3 : 1;
  return lead >= 0xc2 ? 2 : 1;
}
