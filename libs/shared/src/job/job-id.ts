import { randomFillSync } from 'node:crypto';

/**
 * A new job's id: a version 7 UUID (RFC 9562, section 5.7), so that ids sort by the time of submission and new rows
 * lie together in the index.
 */
export function newJobId(): string {
  const id = randomFillSync(Buffer.alloc(16));
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = (id[6]! & 0x0f) | 0x70;
  id[8] = (id[8]! & 0x3f) | 0x80;
  const hex = id.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
