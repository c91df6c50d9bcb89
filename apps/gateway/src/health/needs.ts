import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { firstValueFrom } from 'rxjs';
import { BROKER, type Broker } from '#shared/channel/broker.js';
import { Database } from '../database/database.js';
import { BlobStore } from '../files/blob-store.js';
import { Readiness } from './readiness.js';

/** What a gateway needs in order to serve. */
@Injectable()
export class Needs implements OnModuleInit {
  constructor(
    private readonly readiness: Readiness,
    private readonly database: Database,
    private readonly store: BlobStore,
    @Inject(BROKER) private readonly broker: Broker,
  ) {}

  onModuleInit(): void {
    this.readiness.add('database', () => this.database.query('SELECT 1'));
    this.readiness.add('blobs', () => this.store.check());
    this.readiness.add('broker', async () => {
      const status = await firstValueFrom(this.broker.status);
      if (status !== 'connected') throw new Error('the connection is lost');
    });
  }
}
