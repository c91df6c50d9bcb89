import { Inject, Injectable, Logger, OnApplicationShutdown } from '@nestjs/common';
import { hostname } from 'node:os';
import { filter, skip, type Subscription } from 'rxjs';
import type { Broker } from '#shared/channel/broker.js';
import type { Register, RegisterReply } from '#shared/messages/messages.js';
import type { AttemptTools } from './attempt.js';
import { BROKER, SETTINGS, TOOLS } from './tokens.js';
import { VERSION } from '#shared/version.js';
import type { WorkerSettings } from './worker.config.js';

/** Introduces the worker to the gateway, and again after each new connection: the gateway may have forgotten it. */
@Injectable()
export class Registration implements OnApplicationShutdown {
  private readonly logger = new Logger('registration');
  private readonly startedAt = new Date().toISOString();
  private readonly closed = new AbortController();
  private reconnects?: Subscription;
  private reply?: RegisterReply;
  private connected = false;

  constructor(
    @Inject(SETTINGS) private readonly settings: WorkerSettings,
    @Inject(BROKER) private readonly broker: Broker,
    @Inject(TOOLS) private readonly tools: AttemptTools,
  ) {}

  /** Registered, and with a connection to say so. */
  get ready(): boolean {
    return this.reply !== undefined && this.connected;
  }

  /** Resolves once the gateway knows the worker; waits for it as long as it takes. */
  async register(): Promise<RegisterReply> {
    this.broker.status.subscribe((status) => (this.connected = status === 'connected'));
    const reply = await this.introduce();
    this.reconnects = this.broker.status
      .pipe(
        skip(1),
        filter((status) => status === 'connected'),
      )
      .subscribe(() => void this.introduce().catch(() => undefined));
    return reply;
  }

  onApplicationShutdown(): void {
    this.reconnects?.unsubscribe();
    this.closed.abort(new Error('the worker stops'));
  }

  private async introduce(): Promise<RegisterReply> {
    this.reply = await this.tools.link.ask('register', await this.introduction(), this.closed.signal);
    this.logger.log(`registered as ${this.tools.workerId}`);
    return this.reply;
  }

  private async introduction(): Promise<Register> {
    const { queues, queueSettings, image } = this.settings;
    return {
      workerId: this.tools.workerId,
      host: hostname(),
      version: VERSION,
      image,
      startedAt: this.startedAt,
      attempts: this.tools.attempts.all().map(({ jobId, attempt }) => ({ jobId, attempt })),
      queues: Object.fromEntries(
        Object.entries(queues).map(([name, slots]) => [name, { slots, settings: queueSettings[name] }]),
      ),
      capabilities: { ...(await this.tools.capabilities) },
    };
  }
}
