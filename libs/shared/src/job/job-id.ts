import { randomFillSync } from 'node:crypto';

/** Of the last id: its milliseconds, and what stands in `rand_a`. */
let lastTime = 0;
let counter = 0;
const MOST = 0xfff;

/**
 * A new job's id: a version 7 UUID (RFC 9562, section 5.7), so that ids sort by the time of submission and new rows
 * lie together in the index. Within a millisecond `rand_a` counts on from a random start (section 6.2, method 1), so
 * those of one process sort in their order.
 */
export function newJobId(): string {
  const id = randomFillSync(Buffer.alloc(16));
  const now = Date.now();
  if (now > lastTime) {
    lastTime = now;
    // Of the twelve bits the first is kept free for counting.
    counter = id.readUInt16BE(6) & (MOST >> 1);
  } else if (counter < MOST) {
    counter++;
  } else {
    lastTime++;
    counter = 0;
  }
  id.writeUIntBE(lastTime, 0, 6);
  id.writeUInt16BE(0x7000 | counter, 6);
  id[8] = (id[8]! & 0x3f) | 0x80;
  const hex = id.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
