import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';

/** A check that takes longer than this has failed. */
const PATIENCE_MS = 2000;

/** Rejects when what it looks at cannot serve. */
export type ReadinessCheck = () => Promise<unknown>;

/** What must answer for this gateway to be sent requests. Features add their checks as they start. */
@Injectable()
export class Readiness implements OnModuleDestroy {
  private readonly logger = new Logger('Readiness');
  private readonly checks = new Map<string, ReadinessCheck>();
  private readonly failing = new Set<string>();
  private running?: Promise<ReadonlyMap<string, boolean>>;
  private leaving = false;

  /** @param name one word for people: `database`, `broker`, `blobs` */
  add(name: string, check: ReadinessCheck): void {
    this.checks.set(name, check);
  }

  /** From now on not ready: first step of shutting down, so that a load balancer looks elsewhere. */
  drain(): void {
    this.leaving = true;
  }

  get draining(): boolean {
    return this.leaving;
  }

  onModuleDestroy(): void {
    this.drain();
  }

  /** Which checks pass. Anybody may ask, so those who ask together get one round of checks. */
  async look(): Promise<ReadonlyMap<string, boolean>> {
    this.running ??= this.round().finally(() => (this.running = undefined));
    return this.running;
  }

  private async round(): Promise<ReadonlyMap<string, boolean>> {
    const results = [...this.checks].map(
      async ([name, check]) => [name, await this.passes(name, check)] as const,
    );
    return new Map(await Promise.all(results));
  }

  private async passes(name: string, check: ReadinessCheck): Promise<boolean> {
    try {
      await withPatience(check);
      if (this.failing.delete(name)) this.logger.log(`${name} answers again`);
      return true;
    } catch (error) {
      // The cause is for the log, once: the endpoint is public and asked every few seconds.
      if (!this.failing.has(name)) this.logger.warn(`${name} does not answer`, error);
      this.failing.add(name);
      return false;
    }
  }
}

async function withPatience(check: ReadinessCheck): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    await Promise.race([check(), late]);
  } finally {
    clearTimeout(timer);
  }
}
