import { Logger } from '@nestjs/common';
import type { Broker, Consumption, Delivery, RawMessage, Source } from '#shared/channel/broker.js';

/** How long it goes on hearing when its last listener has left: the next one comes soon. */
const LINGER_MS = 30_000;

/**
 * Hears what the other gateways publish while somebody here listens: most of it interests nobody, and what nobody
 * hears costs the broker next to nothing.
 */
export class Ear {
  private readonly logger = new Logger(Ear.name);
  private listeners = 0;
  private hearing?: Promise<Consumption[]>;
  private lingering?: NodeJS.Timeout;

  /**
   * @param take understands a message, or throws
   * @param opened it hears from now on; what was published before may have been missed
   */
  constructor(
    private readonly broker: Broker,
    private readonly sources: readonly Source[],
    private readonly take: (message: RawMessage) => void,
    private readonly opened: () => void = () => undefined,
  ) {}

  /** @returns what ends the listening, to be called once */
  listen(): () => void {
    if (this.listeners++ === 0) this.open();
    return () => {
      if (--this.listeners === 0) this.lingering = setTimeout(() => this.close(), LINGER_MS).unref();
    };
  }

  private open(): void {
    clearTimeout(this.lingering);
    if (this.hearing) return;
    const hearing = Promise.all(
      this.sources.map((source) =>
        this.broker.consume(source, { consumers: 1, prefetch: 100 }, (delivery) => this.heard(delivery)),
      ),
    );
    this.hearing = hearing;
    hearing.then(this.opened, (error: Error) => {
      this.hearing = undefined;
      this.logger.debug(`other gateways cannot be heard: ${error.message}`);
    });
  }

  private close(): void {
    const { hearing } = this;
    this.hearing = undefined;
    void hearing?.then((consumptions) => consumptions.map((consumption) => consumption.stop()));
  }

  private async heard({ message }: Delivery): Promise<'ack' | 'dead-letter'> {
    try {
      this.take(message);
      return 'ack';
    } catch (error) {
      this.logger.debug(`a message of another gateway is refused: ${(error as Error).message}`);
      return 'dead-letter';
    }
  }
}
