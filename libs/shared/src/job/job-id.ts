import { randomUUID } from 'node:crypto';

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
  const random = randomUUID();
  const now = Date.now();
  if (now > lastTime) {
    lastTime = now;
    // Of the twelve bits the first is kept free for counting.
    counter = Number.parseInt(random.slice(0, 3), 16) & (MOST >> 1);
  } else if (counter < MOST) {
    counter++;
  } else {
    lastTime++;
    counter = 0;
  }
  const time = lastTime.toString(16).padStart(12, '0');
  const count = counter.toString(16).padStart(3, '0');
  // The variant and what follows it are those of a random UUID.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-${random.slice(19)}`;
}
