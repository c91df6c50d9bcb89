import { spawn } from 'node:child_process';

/** What Node's own spawn reaches with nothing around it: a program by itself, because a spawn costs a large one more. */

const count = Number(process.argv[2]);
let left = count;
let running = 4;
const began = performance.now();

function next(): void {
  if (left === 0) {
    if (--running === 0) process.stdout.write(String((count / (performance.now() - began)) * 1000));
    return;
  }
  left--;
  spawn('/bin/true', { stdio: 'ignore' }).on('exit', next);
}

for (let line = running; line > 0; line--) next();
