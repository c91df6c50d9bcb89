import { DynamicModule, Module } from '@nestjs/common';
import type { Broker } from '#shared/channel/broker.js';
import { ChannelServer } from '#shared/channel/channel-server.js';
import type { AttemptTools } from './attempt.js';
import { Attempts } from './attempts.js';
import { Control } from './control.js';
import { Drain } from './drain.js';
import { Health } from './health.js';
import { Heartbeat } from './heartbeat.js';
import { IdleTimeout } from './idle-timeout.js';
import { Quota } from './quota.js';
import { Recovery } from './recovery.js';
import { Registration } from './registration.js';
import { Slots } from './slots.js';
import { BROKER, SETTINGS, TOOLS } from './tokens.js';
import type { WorkerSettings } from './worker.config.js';

export interface WorkerParts {
  readonly settings: WorkerSettings;
  readonly broker: Broker;
  readonly server: ChannelServer;
  readonly tools: AttemptTools;
}

@Module({})
export class WorkerModule {
  static of({ settings, broker, server, tools }: WorkerParts): DynamicModule {
    return {
      module: WorkerModule,
      controllers: [Slots, Control],
      providers: [
        { provide: SETTINGS, useValue: settings },
        { provide: BROKER, useValue: broker },
        { provide: ChannelServer, useValue: server },
        { provide: TOOLS, useValue: tools },
        { provide: Attempts, useValue: tools.attempts },
        Recovery,
        Registration,
        Heartbeat,
        Drain,
        Quota,
        IdleTimeout,
        Health,
      ],
    };
  }
}
