import { BaseRpcContext } from '@nestjs/microservices';
import type { Delivery } from './broker.js';
import { TRACEPARENT_HEADER } from './envelope.js';

/** What a handler gets beside the body: `@Ctx() context: ChannelContext`. */
export class ChannelContext extends BaseRpcContext<[Delivery]> {
  constructor(delivery: Delivery) {
    super([delivery]);
  }

  get type(): string {
    return this.delivery.message.type;
  }

  /** The broker handed it out before; whether a handler saw it then, nobody knows. */
  get redelivered(): boolean {
    return this.delivery.message.redelivered;
  }

  get headers(): Readonly<Record<string, unknown>> {
    return this.delivery.message.headers;
  }

  /** The W3C trace context of the sender. */
  get traceparent(): string | undefined {
    const value = this.headers[TRACEPARENT_HEADER];
    return typeof value === 'string' ? value : undefined;
  }

  /** Lets go of the message; this consumer gets no other one until the handler is done. */
  release(): Promise<void> {
    return this.delivery.release();
  }

  /** Takes one more message out of the same queue, unseen. @returns false when there was none */
  drawAnother(): Promise<boolean> {
    return this.delivery.drawAnother();
  }

  private get delivery(): Delivery {
    return this.getArgByIndex(0);
  }
}
