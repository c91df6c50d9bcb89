import { Injectable } from '@nestjs/common';
import type { CallbackMessage } from './callback-sender.js';
import { messageId, messageType } from './delivery-view.js';
import type { DueDelivery } from './due-deliveries.js';
import { JobViews } from './job-views.js';
import { SigningSecrets } from './signing-secrets.js';

/** What a delivery says: the event by its type and time, and the job as it is when the try is made. */
@Injectable()
export class CallbackMessages {
  constructor(
    private readonly jobs: JobViews,
    private readonly secrets: SigningSecrets,
  ) {}

  /** Undefined when the job is gone. */
  async messageOf(delivery: DueDelivery): Promise<CallbackMessage | undefined> {
    const data = await this.jobs.view(delivery.jobId);
    if (!data) return undefined;
    return {
      id: messageId(delivery.eventId),
      url: delivery.url,
      body: JSON.stringify({ type: messageType(delivery.eventState), timestamp: delivery.eventAt, data }),
      secrets: delivery.jobSecret === null ? await this.secrets.current() : [delivery.jobSecret],
    };
  }
}
