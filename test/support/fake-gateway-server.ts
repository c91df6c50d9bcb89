import { Controller, Inject, Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import type { QueueDeclaration } from '#shared/amqp/topology.js';
import type { Broker } from '#shared/channel/broker.js';
import { ChannelServer } from '#shared/channel/channel-server.js';
import type {
  Claim,
  Finished,
  FinishedReply,
  Heartbeat,
  LogChunk,
  Lost,
  Progress,
  RecordedReply,
  Register,
  RegisterReply,
} from '#shared/messages/messages.js';
import type { FakeGateway } from './fake-gateway.js';

const GATEWAY = Symbol('FakeGateway');

@Controller()
class Handlers {
  constructor(@Inject(GATEWAY) private readonly gateway: FakeGateway) {}

  @MessagePattern<string>('register')
  register(@Payload() message: Register): Promise<RegisterReply> {
    this.gateway.hear('registrations', message);
    return this.gateway.onRegister();
  }

  @MessagePattern<string>('claim')
  async claim(@Payload() claim: Claim) {
    await this.gateway.onClaim(claim);
    return { job: this.gateway.claim(claim.claimId) };
  }

  @MessagePattern<string>('finished')
  async finished(@Payload() message: Finished): Promise<FinishedReply> {
    const status = await this.gateway.onFinished(message);
    this.gateway.hear('finished', message);
    if (!message.next || !this.gateway.answersNext) return { status };
    const { claimId, mayWait } = message.next;
    const { waits } = this.gateway;
    if (mayWait && waits !== undefined) return { status, waits };
    const job = this.gateway.claim(claimId);
    return { status, job, draw: job !== null };
  }

  @MessagePattern<string>('lost')
  lost(@Payload() message: Lost): RecordedReply {
    this.gateway.hear('lost', message);
    return { status: 'recorded' };
  }

  @EventPattern<string>('heartbeat')
  heartbeat(@Payload() message: Heartbeat): void {
    this.gateway.hear('heartbeats', message);
  }

  @EventPattern<string>('logs')
  logs(@Payload() message: LogChunk): void {
    this.gateway.hear('logs', message);
  }

  @EventPattern<string>('progress')
  progress(@Payload() message: Progress): void {
    this.gateway.hear('progress', message);
  }
}

@Module({ controllers: [Handlers] })
class FakeGatewayModule {
  static of(gateway: FakeGateway): DynamicModule {
    return { module: FakeGatewayModule, providers: [{ provide: GATEWAY, useValue: gateway }] };
  }
}

/** Answers the worker's messages; the returned function stops that. */
export async function serveFakeGateway(
  gateway: FakeGateway,
  broker: Broker,
  queues: readonly QueueDeclaration[],
): Promise<() => Promise<void>> {
  const subscriptions = queues.map((queue) => ({
    name: queue.name,
    source: { queue },
    consumers: 1,
    prefetch: 100,
  }));
  const app = await NestFactory.createMicroservice(FakeGatewayModule.of(gateway), {
    // Some tests leave a request without an answer for good.
    strategy: new ChannelServer(broker, subscriptions, { drainMs: 0 }),
    logger: ['error', 'fatal'],
  });
  await app.listen();
  return () => app.close();
}
