import { Controller, Get, Header } from '@nestjs/common';
import { ApiOperation, ApiProduces, ApiResponse, ApiTags } from '@nestjs/swagger';
import { Metrics } from './metrics.js';

/** prom-client's text format. */
const TYPE = 'text/plain; version=0.0.4; charset=utf-8';

@ApiTags('operating')
@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  @Get()
  @Header('content-type', TYPE)
  @Header('cache-control', 'no-store')
  @ApiOperation({
    summary: 'Metrics for Prometheus',
    description:
      'Needs a key of any role: `authorization: { credentials_file: /path/to/key }` in the scrape config.',
  })
  @ApiProduces('text/plain')
  @ApiResponse({ status: 200, description: 'Prometheus text format', schema: { type: 'string' } })
  async read(): Promise<string> {
    return this.metrics.registry.metrics();
  }
}
