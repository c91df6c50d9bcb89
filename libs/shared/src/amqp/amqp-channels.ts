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

/** How long a goodbye may take, in milliseconds: a broker in trouble answers nothing at all. */
const GOODBYE_MS = 5_000;

/** Resolves when `goodbye` has settled in any way, or has taken too long to wait for it. */
export async function patiently(goodbye: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise((resolve) => (timer = setTimeout(resolve, GOODBYE_MS)));
  await Promise.race([goodbye, enough]).catch(() => undefined);
  clearTimeout(timer);
}

/** Resolves when the channel is closed, however that came about; amqplib's own promise can wait for ever. */
export async function closeChannel(channel: Channel): Promise<void> {
  const closed = new Promise<void>((resolve) => channel.once('close', resolve));
  await patiently(Promise.race([closed, channel.close()]));
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
