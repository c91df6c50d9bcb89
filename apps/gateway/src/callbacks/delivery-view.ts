import { z } from 'zod';

/** A delivery as clients see it. The schema is the OpenAPI document and the type; the function below fills it. */

export const DELIVERY_STATES = ['due', 'delivered', 'failed'] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

const time = z.iso.datetime();

const tryView = z.object({
  at: time,
  status: z.int().optional().describe('What the receiver answered, if it did'),
  error: z.string().optional(),
});

export const deliveryView = z.object({
  id: z.uuid(),
  jobId: z.uuid(),
  messageId: z.string().describe('What the receiver gets as webhook-id'),
  type: z.string().meta({ example: 'job.succeeded' }),
  url: z.string().describe('Without user name and password'),
  state: z.enum(DELIVERY_STATES),
  tries: z.int(),
  nextTryAt: time.optional(),
  lastStatus: z.int().optional(),
  lastError: z.string().optional(),
  createdAt: time,
  finishedAt: time.optional(),
  history: z.array(tryView).describe('Every try, the last fifty'),
});
export type DeliveryView = z.output<typeof deliveryView>;

export const deliveryPage = z.object({
  deliveries: z.array(deliveryView),
  next: z.string().optional().describe('The `cursor` of the next page, if there is one'),
});
export type DeliveryPage = z.output<typeof deliveryPage>;

/** A row of `deliveries`, with the state that its event tells of. */
export interface DeliveryRow {
  id: string;
  job_id: string;
  event_id: string;
  event_state: string;
  url: string;
  state: DeliveryState;
  tries: number;
  next_try_at: Date;
  last_status: number | null;
  last_error: string | null;
  created_at: Date;
  finished_at: Date | null;
  history: { at: string; status: number | null; error: string | null }[];
}

export function toDeliveryView(row: DeliveryRow): DeliveryView {
  return {
    id: row.id,
    jobId: row.job_id,
    messageId: messageId(row.event_id),
    type: messageType(row.event_state),
    url: withoutCredentials(row.url),
    state: row.state,
    tries: row.tries,
    nextTryAt: row.state === 'due' ? row.next_try_at.toISOString() : undefined,
    lastStatus: row.last_status ?? undefined,
    lastError: row.last_error ?? undefined,
    createdAt: row.created_at.toISOString(),
    finishedAt: row.finished_at?.toISOString(),
    history: row.history.map(({ at, status, error }) => ({
      at,
      status: status ?? undefined,
      error: error ?? undefined,
    })),
  };
}

/** The same on every try and replay: receivers tell repetitions by it. */
export const messageId = (eventId: string) => `evt_${eventId}`;
export const messageType = (state: string) => `job.${state}`;

function withoutCredentials(address: string): string {
  const url = new URL(address);
  url.username = '';
  url.password = '';
  return url.href;
}
