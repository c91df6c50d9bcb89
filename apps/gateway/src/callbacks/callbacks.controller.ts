import { Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Role } from '../auth/role.decorator.js';
import { CurrentViewer, type Viewer } from '../auth/viewer.js';
import { parseQuery } from '../http/validate.js';
import { DeliveryLog, deliveryFilter } from './delivery-log.js';
import type { DeliveryPage, DeliveryView } from './delivery-view.js';
import { SigningSecrets } from './signing-secrets.js';

/** What receivers need to check signatures with: new first, and the one that it replaces as long as both sign. */
interface SecretsView {
  readonly secret: string;
  readonly previous?: string;
}

@Controller('v1')
export class CallbacksController {
  constructor(
    private readonly log: DeliveryLog,
    private readonly secrets: SigningSecrets,
  ) {}

  @Get('deliveries')
  list(@Query() query: unknown, @CurrentViewer() viewer: Viewer): Promise<DeliveryPage> {
    return this.log.list(parseQuery(deliveryFilter, query), viewer);
  }

  @Post('deliveries/:id/replay')
  @HttpCode(202)
  replay(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<DeliveryView> {
    return this.log.replay(id, viewer);
  }

  @Get('callbacks/secret')
  @Role('admin')
  async secret(): Promise<SecretsView> {
    return toSecretsView(await this.secrets.current());
  }

  @Post('callbacks/secret/rotate')
  @HttpCode(200)
  @Role('admin')
  async rotate(): Promise<SecretsView> {
    return toSecretsView(await this.secrets.rotate());
  }
}

function toSecretsView([secret, previous]: string[]): SecretsView {
  return { secret: secret!, ...(previous ? { previous } : {}) };
}
