import { Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { Role } from '../auth/role.decorator.js';
import { CurrentViewer, type Viewer } from '../auth/viewer.js';
import { ApiQueryOf } from '../http/api-query.js';
import { responseSchema } from '../http/api-schemas.js';
import { parseQuery } from '../http/validate.js';
import { DeliveryLog, deliveryFilter } from './delivery-log.js';
import { deliveryPage, deliveryView, type DeliveryPage, type DeliveryView } from './delivery-view.js';
import { SigningSecrets } from './signing-secrets.js';

const signingSecret = z.object({
  secret: z.string().describe('What receivers check signatures with'),
  previous: z.string().optional().describe('The one before, which signs as well until the next rotation'),
});
type SigningSecret = z.output<typeof signingSecret>;

const DELIVERY = { description: 'The delivery', schema: responseSchema('Delivery', deliveryView) };
const DELIVERIES = {
  description: 'A page, newest first; `next` is the cursor of the following one',
  schema: responseSchema('DeliveryPage', deliveryPage),
};
const SECRET = { description: 'The secret', schema: responseSchema('SigningSecret', signingSecret) };

@ApiTags('callbacks')
@Controller('v1')
export class CallbacksController {
  constructor(
    private readonly log: DeliveryLog,
    private readonly secrets: SigningSecrets,
  ) {}

  @Get('deliveries')
  @ApiOperation({ summary: 'List callbacks, made and due' })
  @ApiQueryOf(deliveryFilter)
  @ApiResponse({ status: 200, ...DELIVERIES })
  list(@Query() query: unknown, @CurrentViewer() viewer: Viewer): Promise<DeliveryPage> {
    return this.log.list(parseQuery(deliveryFilter, query), viewer);
  }

  @Post('deliveries/:id/replay')
  @HttpCode(202)
  @ApiOperation({ summary: 'Make a callback again that was delivered or has failed' })
  @ApiResponse({ status: 202, ...DELIVERY })
  replay(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<DeliveryView> {
    return this.log.replay(id, viewer);
  }

  @Get('callbacks/secret')
  @ApiOperation({ summary: "Read the server's secret that signs callbacks" })
  @ApiResponse({ status: 200, ...SECRET })
  @Role('admin')
  async secret(): Promise<SigningSecret> {
    return view(await this.secrets.current());
  }

  @Post('callbacks/secret/rotate')
  @HttpCode(200)
  @ApiOperation({ summary: 'Replace that secret; the one before goes on signing beside it' })
  @ApiResponse({ status: 200, ...SECRET })
  @Role('admin')
  async rotate(): Promise<SigningSecret> {
    return view(await this.secrets.rotate());
  }
}

function view([secret, previous]: string[]): SigningSecret {
  return { secret: secret!, ...(previous ? { previous } : {}) };
}
