import { Logger } from '@nestjs/common';
import { filter, firstValueFrom } from 'rxjs';
import { BrokerUnavailableError, type Broker } from '#shared/channel/broker.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import type { MessageBody, MessageType, Reply, RequestType } from '#shared/messages/messages.js';
import { retrying } from './retry.js';

/** Milliseconds until a request counts as lost and is sent again. */
const ANSWER_MS = 5_000;

/** What the worker says to the gateway: requests that are repeated until answered, and the rest once. */
export class GatewayLink {
  private readonly logger = new Logger('gateway-link');

  constructor(
    private readonly client: ChannelClient,
    private readonly broker: Broker,
  ) {}

  /**
   * Asks until there is an answer, over any number of broken connections. Each try is a new request, and only
   * the answer to the latest counts; the gateway knows a repeated one by its body.
   * @throws the signal's reason when it is aborted first
   */
  async ask<T extends RequestType>(type: T, body: MessageBody<T>, signal?: AbortSignal): Promise<Reply<T>> {
    return retrying(() => this.client.ask(type, body, { timeoutMs: ANSWER_MS }), {
      signal,
      before: async (error) => {
        this.logger.debug(`${type} is asked again: ${(error as Error).message}`);
        if (error instanceof BrokerUnavailableError) await this.connected();
      },
    });
  }

  /** Says it once; what cannot be said now is not worth saying later. */
  async tell<T extends MessageType>(type: T, body: MessageBody<T>): Promise<void> {
    await this.tryToTell(type, body);
  }

  /** Says it once. @returns whether the broker was there to take it */
  async tryToTell<T extends MessageType>(type: T, body: MessageBody<T>): Promise<boolean> {
    try {
      await this.client.tell(type, body);
      return true;
    } catch (error) {
      this.logger.debug(`${type} was not sent: ${(error as Error).message}`);
      return false;
    }
  }

  private async connected(): Promise<void> {
    await firstValueFrom(this.broker.status.pipe(filter((status) => status === 'connected')));
  }
}
