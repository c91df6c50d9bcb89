import { Injectable } from '@nestjs/common';
import { z } from 'zod';
import { seesAll, type Viewer } from '../auth/viewer.js';
import { Database, type Statements } from '../database/database.js';
import { Problem } from '../http/problem.js';
import { DELIVERY_STATES, toDeliveryView } from './delivery-view.js';
import type { DeliveryPage, DeliveryRow, DeliveryView } from './delivery-view.js';
import { Deliveries } from './deliveries.js';

const CURSOR = /^(\d{1,18})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

export const deliveryFilter = z.strictObject({
  job: z.uuid().optional().describe('Only deliveries of this job'),
  state: z.enum(DELIVERY_STATES).optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z
    .string()
    .regex(CURSOR, 'expected the "next" of an earlier page')
    .optional()
    .describe('`next` of the page before'),
});
export type DeliveryFilter = z.output<typeof deliveryFilter>;

const SELECT = `
  SELECT d.*, e.state AS event_state FROM deliveries d
  JOIN events e ON e.id = d.event_id JOIN jobs j ON j.id = d.job_id
  WHERE ($1::text IS NULL OR j.owner = $1)`;

/** Callbacks made and due, for those who may see their jobs. */
@Injectable()
export class DeliveryLog {
  constructor(
    private readonly database: Database,
    private readonly deliveries: Deliveries,
  ) {}

  /** Newest first. @returns a page, and where the next one begins if there is one */
  async list({ job, state, limit, cursor }: DeliveryFilter, viewer: Viewer): Promise<DeliveryPage> {
    const [, beforeEvent = null, beforeId = null] = CURSOR.exec(cursor ?? '') ?? [];
    const rows = await this.database.query<DeliveryRow>(
      `${SELECT}
         AND ($2::uuid IS NULL OR d.job_id = $2)
         AND ($3::text IS NULL OR d.state = $3)
         AND ($4::bigint IS NULL OR (d.event_id, d.id) < ($4::bigint, $5::uuid))
       ORDER BY d.event_id DESC, d.id DESC LIMIT $6`,
      [ownerSeenBy(viewer), job ?? null, state ?? null, beforeEvent, beforeId, limit + 1],
    );
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      deliveries: page.map(toDeliveryView),
      ...(last && rows.length > page.length ? { next: `${last.event_id}-${last.id}` } : {}),
    };
  }

  /**
   * Makes a delivery that is over due again, with all its tries.
   * @throws {Problem} 404 `not_found`; 409 `conflict`: it is not over
   */
  async replay(id: string, viewer: Viewer): Promise<DeliveryView> {
    // In one transaction: once it has committed, the next try may begin at any moment.
    const due = await this.database.transaction(async (statements) => {
      const before = await this.find(id, viewer, statements);
      const replayed = await statements.one(
        `UPDATE deliveries SET state = 'due', tries = 0, next_try_at = now(), finished_at = NULL
         WHERE id = $1 AND state <> 'due' RETURNING id`,
        [before.id],
      );
      if (replayed) return this.find(id, viewer, statements);
      throw new Problem(
        409,
        'conflict',
        `The delivery ${before.id} is due already; only one that was delivered or has failed can be replayed.`,
      );
    });
    this.deliveries.nudge();
    return due;
  }

  private async find(id: string, viewer: Viewer, statements: Statements): Promise<DeliveryView> {
    const row = z.uuid().safeParse(id).success
      ? await statements.one<DeliveryRow>(`${SELECT} AND d.id = $2`, [ownerSeenBy(viewer), id])
      : undefined;
    if (row) return toDeliveryView(row);
    throw new Problem(
      404,
      'not_found',
      `There is no delivery ${JSON.stringify(id)} that this key may see; list the deliveries at /v1/deliveries.`,
    );
  }
}

/** Whose deliveries the viewer sees; null for everybody's. */
function ownerSeenBy(viewer: Viewer): string | null {
  return seesAll(viewer) ? null : viewer.owner;
}
