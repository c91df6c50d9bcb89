import type { Channel, ChannelModel, Replies } from 'amqplib';
import { EXCHANGES, FIXED_QUEUES, type QueueDeclaration } from './topology.js';

/** A channel whose errors are heard: an unheard `error` event would end the process. */
export async function openChannel(model: ChannelModel): Promise<Channel> {
  return heard(await model.createChannel());
}

export function heard<C extends Channel>(channel: C): C {
  channel.on('error', () => undefined);
  channel.on('handler-error', () => undefined);
  return channel;
}

/** Resolves when the channel is closed, however that came about; amqplib's own promise can wait for ever. */
export async function closeChannel(channel: Channel): Promise<void> {
  const closed = new Promise<void>((resolve) => channel.once('close', resolve));
  await Promise.race([closed, channel.close()]).catch(() => undefined);
}

/** Runs `use` on a channel of its own: a refused declaration closes its channel, and whatever else is on it. */
export async function withChannel<T>(model: ChannelModel, use: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await openChannel(model);
  try {
    return await use(channel);
  } finally {
    await closeChannel(channel);
  }
}

export function declareQueue(channel: Channel, queue: QueueDeclaration): Promise<Replies.AssertQueue> {
  return channel.assertQueue(queue.name, { durable: queue.durable, arguments: queue.arguments });
}

export async function declareTopology(model: ChannelModel): Promise<void> {
  await withChannel(model, async (channel) => {
    for (const queue of FIXED_QUEUES) await declareQueue(channel, queue);
    for (const { name, type } of EXCHANGES) await channel.assertExchange(name, type, { durable: true });
  });
}
