import { Controller, UseFilters } from '@nestjs/common';
import { ChannelErrorFilter } from '#shared/channel/channel-error.filter.js';
import { EventPattern, Payload } from '@nestjs/microservices';
import type { AttemptRef } from '#shared/messages/messages.js';
import { Attempts } from './attempts.js';

/** What gateways order of this worker. Orders for attempts that it does not hold are late ones: nothing to do. */
@Controller()
@UseFilters(ChannelErrorFilter)
export class Control {
  constructor(private readonly attempts: Attempts) {}

  @EventPattern<string>('cancel')
  cancel(@Payload() ref: AttemptRef): void {
    this.attempts.find(ref)?.end('cancel');
  }

  @EventPattern<string>('abandon')
  abandon(@Payload() ref: AttemptRef): void {
    this.attempts.find(ref)?.end('abandon');
  }
}
