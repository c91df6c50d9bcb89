import type { Channel } from 'amqplib';

/** As Labhand's: tickets are replicated, requests are answered by direct reply-to. */
export const TICKETS = 'labhand.floor.tickets';
export const CLAIMS = 'labhand.floor.claims';
export const REPORTS = 'labhand.floor.reports';

export interface FloorJob {
  readonly id: string;
  readonly spec: { readonly command: readonly string[] };
}

export interface FloorReport {
  readonly id: string;
  readonly exitCode: number | undefined;
}

export async function declareQueues(channel: Channel): Promise<void> {
  await channel.assertQueue(TICKETS, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  for (const queue of [CLAIMS, REPORTS]) await channel.assertQueue(queue, { durable: true });
}
