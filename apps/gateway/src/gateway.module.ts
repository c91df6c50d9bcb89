import { Global, Module, type DynamicModule, type Provider } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { AuthModule } from './auth/auth.module.js';
import { CallbackMessages } from './callbacks/callback-messages.js';
import { CallbackSender } from './callbacks/callback-sender.js';
import { CallbackSettings } from './callbacks/callback-settings.js';
import { CallbacksController } from './callbacks/callbacks.controller.js';
import { Deliveries } from './callbacks/deliveries.js';
import { DeliveryLog } from './callbacks/delivery-log.js';
import { DueDeliveries } from './callbacks/due-deliveries.js';
import { JobViews } from './callbacks/job-views.js';
import { SigningSecrets } from './callbacks/signing-secrets.js';
import { Chores } from './chores.js';
import { Database } from './database/database.js';
import { Secrets } from './database/secrets.js';
import { Aftermath } from './dispatch/aftermath.js';
import { Claims } from './dispatch/claims.js';
import { DispatchController } from './dispatch/dispatch.controller.js';
import { Leases } from './dispatch/leases.js';
import { Reports } from './dispatch/reports.js';
import { Tickets } from './dispatch/tickets.js';
import { WaitingClaims } from './dispatch/waiting-claims.js';
import { EventFollowing } from './events/event-following.js';
import { EventHorizon } from './events/event-horizon.js';
import { EventsController } from './events/events.controller.js';
import { JobEvents } from './events/job-events.js';
import { Wakeups } from './events/wakeups.js';
import { AttemptFilesController } from './files/attempt-files.controller.js';
import { AttemptGate } from './files/attempt-gate.js';
import { AttemptTokens } from './files/attempt-token.js';
import { BlobStore } from './files/blob-store.js';
import { JobFilesController } from './files/job-files.controller.js';
import { JobFilesSource } from './files/job-files-source.js';
import { OrphanFiles } from './files/orphan-files.js';
import { OutputArchive } from './files/output-archive.js';
import { PartialFiles } from './files/partial-files.js';
import { StreamBodies } from './files/stream-bodies.js';
import { GATEWAY_CONFIG, type GatewayConfig } from './gateway.config.js';
import { HttpModule } from './http/http.module.js';
import { HealthModule } from './health/health.module.js';
import { Needs } from './health/needs.js';
import { CallbackJobViews } from './jobs/callback-job-views.js';
import { Idempotency } from './jobs/idempotency.js';
import { JobControl } from './jobs/job-control.js';
import { JobOutputs, LeasedAttempts } from './jobs/job-files.js';
import { JobLifecycle } from './jobs/job-lifecycle.js';
import { JobQueries } from './jobs/job-queries.js';
import { JobWaiting } from './jobs/job-waiting.js';
import { WaitingReasons } from './jobs/waiting-for.js';
import { JobsController } from './jobs/jobs.controller.js';
import { Reruns } from './jobs/reruns.js';
import { Submissions } from './jobs/submissions.js';
import { JobLogs } from './logs/job-logs.js';
import { LiveLogs } from './logs/live-logs.js';
import { LogFollowing } from './logs/log-following.js';
import { LogsController } from './logs/logs.controller.js';
import { Gauges } from './metrics/gauges.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { Queues } from './queues/queues.js';
import { QueuesController } from './queues/queues.controller.js';
import { Workers } from './workers/workers.js';
import { WorkersController } from './workers/workers.controller.js';

/** What a gateway is made of; whoever composes it opens and closes these. */
export interface GatewayParts {
  readonly config: GatewayConfig;
  readonly broker: Broker;
  readonly dataSource: DataSource;
  readonly store: BlobStore;
}

/** The outside of the gateway, for every feature. */
@Global()
@Module({})
class PartsModule {
  static of({ config, broker, dataSource, store }: GatewayParts): DynamicModule {
    const providers: Provider[] = [
      { provide: GATEWAY_CONFIG, useValue: config },
      { provide: BROKER, useValue: broker },
      { provide: BlobStore, useValue: store },
      { provide: ChannelClient, useValue: new ChannelClient(broker) },
      { provide: Database, useValue: new Database(dataSource) },
      Secrets,
    ];
    return { module: PartsModule, providers, exports: providers };
  }
}

/** Features are folders; they meet here, where everything that takes part stands in one list. */
@Module({})
export class GatewayModule {
  static of(parts: GatewayParts): DynamicModule {
    const { callbacks } = parts.config;
    return {
      module: GatewayModule,
      imports: [PartsModule.of(parts), MetricsModule, HealthModule, HttpModule, AuthModule],
      controllers: [
        JobsController,
        LogsController,
        EventsController,
        JobFilesController,
        AttemptFilesController,
        QueuesController,
        WorkersController,
        CallbacksController,
        DispatchController,
      ],
      providers: [
        // jobs
        JobLifecycle,
        JobQueries,
        JobWaiting,
        WaitingReasons,
        JobControl,
        Submissions,
        Reruns,
        Idempotency,
        // queues, workers
        Queues,
        Workers,
        // dispatch
        Claims,
        Reports,
        Leases,
        Tickets,
        WaitingClaims,
        Aftermath,
        Chores,
        Gauges,
        Needs,
        // files
        StreamBodies,
        OutputArchive,
        OrphanFiles,
        AttemptTokens,
        PartialFiles,
        { provide: AttemptGate, useClass: LeasedAttempts },
        { provide: JobFilesSource, useClass: JobOutputs },
        // events, logs
        JobEvents,
        Wakeups,
        EventHorizon,
        EventFollowing,
        LiveLogs,
        JobLogs,
        LogFollowing,
        // callbacks
        Deliveries,
        DeliveryLog,
        DueDeliveries,
        CallbackMessages,
        CallbackSender,
        SigningSecrets,
        { provide: JobViews, useClass: CallbackJobViews },
        {
          provide: CallbackSettings,
          useValue: new CallbackSettings({
            allowedNetworks: callbacks.allow,
            requireHttps: callbacks.httpsOnly,
            retryDelays: callbacks.schedule,
          }),
        },
      ],
    };
  }
}
