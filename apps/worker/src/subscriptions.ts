/** Names of what the worker listens to. */

export const CONTROL_SUBSCRIPTION = 'control';

/** The tickets of one queue. */
export function ticketSubscription(queue: string): string {
  return `tickets.${queue}`;
}
