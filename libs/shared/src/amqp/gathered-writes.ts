import type { Writable } from 'node:stream';

/**
 * Makes what a socket is given in one turn of the event loop leave in one system call: on one machine each of them does
 * the receiver's share of the work too, and wakes it.
 */
export function gatherWrites(socket: Writable): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  let gathering = false;
  const gathered = (...args: unknown[]): boolean => {
    if (!gathering) {
      gathering = true;
      socket.cork();
      process.nextTick(() => {
        gathering = false;
        socket.uncork();
      });
    }
    return write(...args);
  };
  socket.write = gathered as typeof socket.write;
}
