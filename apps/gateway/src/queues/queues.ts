import { Injectable } from '@nestjs/common';
import { didYouMean } from '#shared/config/nearest-name.js';
import { queueSettings, type QueueSettings } from '#shared/job/job-spec.js';
import { Database } from '../database/database.js';
import { Problem } from '../http/problem.js';

export interface Queue {
  readonly name: string;
  readonly settings: QueueSettings;
}

/** Every submission reads its queue; a change elsewhere is seen after this long. */
const CACHE_MS = 2000;

/** Which queues there are and what they allow. The gateway's configuration wins over what a worker brings. */
@Injectable()
export class Queues {
  private cache: { at: number; queues: Map<string, Queue> } | undefined;

  constructor(private readonly database: Database) {}

  /** @throws {Problem} 422 `unknown_queue`, with the name that was probably meant */
  async get(name: string): Promise<Queue> {
    const queue = (await this.all()).get(name) ?? (await this.all(true)).get(name);
    if (queue) return queue;
    const known = [...(await this.all()).keys()];
    const message = `There is no queue "${name}"${didYouMean(name, known)}; a queue appears when a worker that serves it registers, or when the gateway's configuration names it.`;
    throw new Problem(422, 'unknown_queue', message, { errors: [{ path: 'queue', message }] });
  }

  async list(): Promise<Queue[]> {
    return [...(await this.all()).values()];
  }

  /** Makes or changes a queue as the gateway's configuration says. */
  async configure(name: string, settings: QueueSettings): Promise<void> {
    await this.put(name, settings, 'configuration', true);
  }

  /** Makes the queue if there is none; its settings are taken unless the configuration has described it. */
  async register(name: string, settings: QueueSettings | undefined): Promise<void> {
    await this.put(name, settings ?? queueSettings.parse({}), 'worker', settings !== undefined);
  }

  private async put(
    name: string,
    settings: QueueSettings,
    source: 'configuration' | 'worker',
    replace: boolean,
  ): Promise<void> {
    const changed = await this.database.query(
      `INSERT INTO queues (name, settings, source) VALUES ($1, $2, $3)
       ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, source = excluded.source, updated_at = now()
       WHERE $4 AND (excluded.source = 'configuration' OR queues.source = 'worker')
         AND (queues.settings, queues.source) IS DISTINCT FROM (excluded.settings, excluded.source)
       RETURNING name`,
      [name, JSON.stringify(settings), source, replace],
    );
    if (changed.length === 0) return;
    await this.database.query('UPDATE lanes SET cap = $2 WHERE queue = $1 AND cap IS DISTINCT FROM $2', [
      name,
      settings.maxRunningPerOwner ?? null,
    ]);
    this.cache = undefined;
  }

  private async all(fresh = false): Promise<Map<string, Queue>> {
    if (!fresh && this.cache && Date.now() - this.cache.at < CACHE_MS) return this.cache.queues;
    const rows = await this.database.query<{ name: string; settings: unknown }>(
      'SELECT name, settings FROM queues ORDER BY name',
    );
    const queues = new Map(
      rows.map(({ name, settings }) => [name, { name, settings: queueSettings.parse(settings) }]),
    );
    this.cache = { at: Date.now(), queues };
    return queues;
  }
}
