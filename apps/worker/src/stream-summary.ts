import { closeSync, openSync, readSync } from 'node:fs';
import type { StreamSummary } from '#shared/messages/messages.js';
import type { LogSize } from './log-follower.js';

/** Streams up to this size travel whole inside `finished`, so that a short job needs no upload. */
export const WHOLE_BYTES = 64 * 1024;
const TAIL_BYTES = 16 * 1024;

export const EMPTY_STREAM: StreamSummary = { bytes: 0, cut: false, tail: '', whole: true };

/** What `finished` says of one output stream. */
export function summarizeStream(file: string, { bytes, cut }: LogSize): StreamSummary {
  if (bytes === 0) return { ...EMPTY_STREAM, cut };
  const whole = bytes <= WHOLE_BYTES;
  return { bytes, cut, tail: readEnd(file, bytes, whole ? bytes : TAIL_BYTES).toString('base64'), whole };
}

function readEnd(file: string, size: number, length: number): Buffer {
  const end = Buffer.allocUnsafe(length);
  const fd = openSync(file, 'r');
  try {
    return end.subarray(0, readSync(fd, end, 0, length, size - length));
  } finally {
    closeSync(fd);
  }
}
