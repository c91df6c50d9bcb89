import type { Channel } from 'amqplib';

/** As Labhand's: tickets are durable and persistent, requests are answered by direct reply-to. */
export const TICKETS = 'labhand.skeleton.tickets';
export const CLAIMS = 'labhand.skeleton.claims';
export const REPORTS = 'labhand.skeleton.reports';

export interface SkeletonJob {
  readonly id: string;
  readonly spec: { readonly command: readonly string[] };
}

export interface SkeletonReport {
  readonly id: string;
  readonly exitCode: number | undefined;
}

export async function declareQueues(channel: Channel): Promise<void> {
  for (const queue of [TICKETS, CLAIMS, REPORTS]) await channel.assertQueue(queue, { durable: true });
}
