import { Controller, UseFilters } from '@nestjs/common';
import { ChannelErrorFilter } from '#shared/channel/channel-error.filter.js';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import type {
  Claim,
  ClaimReply,
  Finished,
  FinishedReply,
  Heartbeat,
  LogChunk,
  Lost,
  Paused,
  Progress,
  RecordedReply,
  Register,
  RegisterReply,
} from '#shared/messages/messages.js';
import { LiveLogs } from '../logs/live-logs.js';
import { Workers } from '../workers/workers.js';
import { Claims } from './claims.js';
import { Leases } from './leases.js';
import { Reports } from './reports.js';

/** What workers send: the gateway's side of libs/shared/src/messages. */
@Controller()
@UseFilters(ChannelErrorFilter)
export class DispatchController {
  constructor(
    private readonly claims: Claims,
    private readonly reports: Reports,
    private readonly leases: Leases,
    private readonly workers: Workers,
    private readonly logs: LiveLogs,
  ) {}

  @MessagePattern<string>('claim')
  claim(@Payload() claim: Claim): Promise<ClaimReply> {
    return this.claims.answer(claim);
  }

  @MessagePattern<string>('finished')
  finished(@Payload() report: Finished): Promise<FinishedReply> {
    return this.reports.finished(report);
  }

  @MessagePattern<string>('lost')
  lost(@Payload() report: Lost): Promise<RecordedReply> {
    return this.reports.lost(report);
  }

  @MessagePattern<string>('register')
  async register(@Payload() worker: Register): Promise<RegisterReply> {
    const { reply, anewAt } = await this.workers.register(worker);
    if (anewAt) await this.leases.startedAnew(worker, anewAt);
    return reply;
  }

  @EventPattern<string>('heartbeat')
  async heartbeat(@Payload() heartbeat: Heartbeat): Promise<void> {
    await Promise.all([this.leases.renew(heartbeat), this.workers.heard(heartbeat)]);
  }

  @EventPattern<string>('paused')
  paused(@Payload() word: Paused): Promise<void> {
    return this.leases.confirm('pause', word);
  }

  @EventPattern<string>('resumed')
  resumed(@Payload() word: Paused): Promise<void> {
    return this.leases.confirm('resume', word);
  }

  @EventPattern<string>('logs')
  log(@Payload() chunk: LogChunk): Promise<void> {
    return this.logs.add(chunk);
  }

  @EventPattern<string>('progress')
  progress(@Payload() progress: Progress): Promise<void> {
    return this.reports.progress(progress);
  }
}
