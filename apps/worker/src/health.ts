import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { Registration } from './registration.js';
import { SETTINGS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

const NOTE_EVERY_MS = 5_000;
/** A note older than this is of a worker that hangs or is gone. */
const STALE_AFTER_MS = 20_000;

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
    rmSync(noteFile(this.settings.stateDir), { force: true });
    const { server } = this;
    if (!server?.listening) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** A full disk must not end the worker; the note then goes stale, which is the truth. */
  private note(): void {
    try {
      const note = JSON.stringify({ at: Date.now(), ready: this.registration.ready });
      writeFileSync(noteFile(this.settings.stateDir), note);
    } catch {
      return;
    }
  }
}

/** Whether the worker of this state directory noted itself ready a moment ago; for a container's health check. */
export function isWorkerReady(stateDir: string): boolean {
  try {
    const { at, ready } = JSON.parse(readFileSync(noteFile(stateDir), 'utf8'));
    return ready === true && Date.now() - at < STALE_AFTER_MS;
  } catch {
    return false;
  }
}

function noteFile(stateDir: string): string {
  return join(stateDir, 'health.json');
}
