import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { AdminKey } from './admin-key.js';
import { ApiKeyGuard } from './api-key.guard.js';
import { Keys } from './keys.js';

/** Closes every route that is not public. Needs the database module, which is global. */
@Module({
  providers: [Keys, AdminKey, { provide: APP_GUARD, useClass: ApiKeyGuard }],
  exports: [Keys, AdminKey],
})
export class AuthModule {}
