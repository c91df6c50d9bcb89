import { Inject, Injectable, Logger } from '@nestjs/common';
import { attemptKey } from './attempts.js';
import { bringToGateway, type AttemptTools } from './attempt.js';
import { handBack } from './hand-back.js';
import { lastLaunchersGone, noteLauncher } from './last-launchers.js';
import { endLeftProcesses } from './left-processes.js';
import { SETTINGS, TOOLS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';
import type { SpoolEntry } from './spool.js';
import type { AttemptRef } from '#shared/messages/messages.js';

/** Deals with what the last run of a worker on this state directory left behind. */
@Injectable()
export class Recovery {
  private readonly logger = new Logger('recovery');
  private readonly underWay = new Set<Promise<void>>();
  private entries: SpoolEntry[] = [];
  private dead: AttemptRef[] = [];

  constructor(
    @Inject(TOOLS) private readonly tools: AttemptTools,
    @Inject(SETTINGS) private readonly settings: WorkerSettings,
  ) {}

  /** Reads the spool and clears the workspaces, once all that ran there has ended; nothing is sent yet. */
  async look(): Promise<void> {
    const { launcher } = this.tools;
    const { stateDir } = this.settings;
    await lastLaunchersGone(stateDir, launcher.pid);
    const note = (pid: number) => noteLauncher(stateDir, pid);
    if (launcher.pid !== undefined) note(launcher.pid);
    launcher.onReplaced = note;
    const { entries, dead } = this.tools.spool.leftovers();
    this.entries = entries;
    this.dead = dead;
    await endLeftProcesses(dead);
    await this.tools.workspaces.clear();
  }

  /** Reports what was found, beside the worker's other work. */
  start(): void {
    for (const entry of this.entries) this.track(this.sendAgain(entry));
    for (const ref of this.dead) this.track(this.reportDead(ref));
    this.entries = [];
    this.dead = [];
  }

  /** Resolves when nothing is being reported. */
  async idle(): Promise<void> {
    await Promise.all(this.underWay);
  }

  private async sendAgain(entry: SpoolEntry): Promise<void> {
    const held = this.tools.attempts.hold(entry);
    held.commandIsOver();
    this.logger.log('The outcome of an attempt is sent again.', held.ref);
    try {
      await bringToGateway(held, entry, this.tools);
    } finally {
      this.tools.attempts.letGo(held);
    }
  }

  private async reportDead(ref: AttemptRef): Promise<void> {
    this.logger.warn('An attempt died with the last run of this worker.', ref);
    await handBack(ref, 'worker_died', this.tools);
    this.tools.spool.remove(attemptKey(ref));
  }

  private track(work: Promise<void>): void {
    const tracked = work
      .catch((error: Error) =>
        this.logger.error(`What the last run left cannot be reported: ${error.message}`),
      )
      .finally(() => this.underWay.delete(tracked));
    this.underWay.add(tracked);
  }
}
