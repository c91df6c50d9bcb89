import type { MessageBody, MessageType } from '../messages/messages.js';

/**
 * Every queue and exchange, declared as data and again on every connect. Must hold on RabbitMQ 3.10 to 4.x.
 * Both transports read it: what stands here is what the in-process one imitates.
 */

export interface QueueDeclaration {
  readonly name: string;
  readonly durable: boolean;
  readonly arguments: Readonly<Record<string, string | number>>;
}

export interface ExchangeDeclaration {
  readonly name: string;
  readonly type: 'topic';
}

export const DEAD_QUEUE: QueueDeclaration = {
  name: 'labhand.dead',
  durable: true,
  arguments: { 'x-queue-type': 'quorum' },
};

/** The default exchange routes by queue name, so no dead-letter exchange of our own is needed. */
const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': DEAD_QUEUE.name };

/** A claim that waited this long has been asked again by its worker. */
const CLAIM_TTL_MS = 10_000;
/** A heartbeat, log chunk or progress mark older than this says nothing any more. */
const LIVE_TTL_MS = 60_000;
const LIVE_MAX_BYTES = 64 * 2 ** 20;

export const CLAIMS_QUEUE: QueueDeclaration = {
  name: 'labhand.claims',
  durable: true,
  arguments: { 'x-message-ttl': CLAIM_TTL_MS },
};

export const REPORTS_QUEUE: QueueDeclaration = {
  name: 'labhand.reports',
  durable: true,
  arguments: { ...toDead },
};

/** Apart from what is for watching: a flood of logs must not keep leases from being renewed. */
export const HEARTBEATS_QUEUE: QueueDeclaration = {
  name: 'labhand.heartbeats',
  durable: true,
  arguments: { 'x-message-ttl': LIVE_TTL_MS },
};

export const LIVE_QUEUE: QueueDeclaration = {
  name: 'labhand.live',
  durable: true,
  arguments: { 'x-message-ttl': LIVE_TTL_MS, 'x-max-length-bytes': LIVE_MAX_BYTES },
};

export const CONTROL_EXCHANGE: ExchangeDeclaration = { name: 'labhand.control', type: 'topic' };
export const EVENTS_EXCHANGE: ExchangeDeclaration = { name: 'labhand.events', type: 'topic' };
/** Between gateways: whose logs have grown, for those who follow them elsewhere. */
export const WRITTEN_EXCHANGE: ExchangeDeclaration = { name: 'labhand.written', type: 'topic' };

export const FIXED_QUEUES = [DEAD_QUEUE, CLAIMS_QUEUE, REPORTS_QUEUE, HEARTBEATS_QUEUE, LIVE_QUEUE] as const;
export const EXCHANGES = [CONTROL_EXCHANGE, EVENTS_EXCHANGE, WRITTEN_EXCHANGE] as const;

/** The tickets of one queue. On the broker's disk, but handed out before they are there: docs/decisions/0010. */
export function ticketsQueue(queue: string): QueueDeclaration {
  return { name: `labhand.tickets.${queue}`, durable: true, arguments: { ...toDead } };
}

/** Where a message goes and how much care it gets. */
export interface Route {
  /** Empty: the default exchange, the key is a queue's name. */
  readonly exchange: string;
  readonly key: string;
  /** A queue that the publisher declares first, because nobody else may have. */
  readonly declare?: QueueDeclaration;
  /** `publish` resolves only when the broker has it, and rejects when no queue took it. */
  readonly confirmed: boolean;
  readonly persistent: boolean;
}

const toQueue = (queue: QueueDeclaration): Route => ({
  exchange: '',
  key: queue.name,
  confirmed: false,
  persistent: false,
});

/**
 * Requests (`claim`, `finished`, `lost`, `register`) need neither confirm nor persistence: they are repeated
 * until answered.
 */
export const ROUTES: {
  readonly [T in MessageType]: (body: MessageBody<T>, to?: string) => Route;
} = {
  ticket: ({ queue }) => {
    const declaration = ticketsQueue(queue);
    return { exchange: '', key: declaration.name, declare: declaration, confirmed: true, persistent: true };
  },
  claim: () => toQueue(CLAIMS_QUEUE),
  finished: () => toQueue(REPORTS_QUEUE),
  lost: () => toQueue(REPORTS_QUEUE),
  register: () => toQueue(REPORTS_QUEUE),
  heartbeat: () => toQueue(HEARTBEATS_QUEUE),
  paused: () => toQueue(HEARTBEATS_QUEUE),
  resumed: () => toQueue(HEARTBEATS_QUEUE),
  logs: () => toQueue(LIVE_QUEUE),
  progress: () => toQueue(LIVE_QUEUE),
  given: (_body, workerId) => toWorker(workerId),
  cancel: (_body, workerId) => toWorker(workerId),
  abandon: (_body, workerId) => toWorker(workerId),
  pause: (_body, workerId) => toWorker(workerId),
  resume: (_body, workerId) => toWorker(workerId),
  signal: (_body, workerId) => toWorker(workerId),
  drain: (_body, workerId) => toWorker(workerId),
  list: (_body, workerId) => toWorker(workerId),
  fetch: (_body, workerId) => toWorker(workerId),
  event: ({ queue, state }) => ({
    exchange: EVENTS_EXCHANGE.name,
    key: `${queue}.${state}`,
    confirmed: false,
    persistent: false,
  }),
  written: () => ({ exchange: WRITTEN_EXCHANGE.name, key: 'written', confirmed: false, persistent: false }),
};

function toWorker(workerId: string | undefined): Route {
  if (!workerId) throw new Error('a control message needs the id of the worker that it is for');
  return { exchange: CONTROL_EXCHANGE.name, key: controlKey(workerId), confirmed: false, persistent: false };
}

/** The routing key under which one worker hears what is for it; ids may hold dots, keys count words by them. */
export function controlKey(workerId: string): string {
  return `worker.${workerId.replaceAll('.', '_')}`;
}
