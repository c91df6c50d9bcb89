// `npm start`: sets the checkout up and becomes the standalone, in one process because starting another costs time.
import { setUp } from './setup.mjs';

await setUp();
stopWithNpm();
await import('../dist/apps/standalone/src/main.js');

/** A killed npm tells its program nothing, and a server that nobody knows of would hold the port and the data. */
function stopWithNpm() {
  if (!process.env.npm_lifecycle_event) return;
  const npm = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === npm) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 500);
  watch.unref();
}
