import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import { createServer, type Server } from 'node:http';
import { NOTE_EVERY_MS, noteHealth, removeHealthNote } from './health-note.js';
import { Registration } from './registration.js';
import { SETTINGS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

/** Answers whether the worker lives and is ready: over HTTP where a port is set, and by a file in any case. */
@Injectable()
export class Health implements OnApplicationShutdown {
  private server?: Server;
  private timer?: NodeJS.Timeout;

  constructor(
    @Inject(SETTINGS) private readonly settings: WorkerSettings,
    private readonly registration: Registration,
  ) {}

  async start(): Promise<void> {
    this.note();
    this.timer = setInterval(() => this.note(), NOTE_EVERY_MS);
    const { healthPort } = this.settings;
    if (healthPort === 0) return;
    const server = createServer(({ url }, response) => {
      const known = url === '/health/live' || url === '/health/ready';
      const well = url === '/health/live' || this.registration.ready;
      response.writeHead(known ? (well ? 200 : 503) : 404, { 'content-type': 'application/json' });
      response.end(known ? JSON.stringify({ status: well ? 'ok' : 'error' }) : '{}');
    });
    this.server = server;
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(healthPort, resolve));
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    removeHealthNote(this.settings.stateDir);
    const { server } = this;
    if (!server?.listening) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  private note(): void {
    noteHealth(this.settings.stateDir, this.registration.ready);
  }
}
