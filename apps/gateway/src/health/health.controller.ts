import { Controller, Get, Header } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { HealthCheckService, type HealthCheckResult } from '@nestjs/terminus';
import { Public } from '../auth/public.decorator.js';
import { Problem } from '../http/problem.js';
import { Readiness } from './readiness.js';

const RETRY_SOON = { 'retry-after': '2' };

@ApiTags('operating')
@Public()
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly readiness: Readiness,
  ) {}

  @Get('live')
  @Header('cache-control', 'no-store')
  @ApiOperation({ summary: 'Does the process answer?' })
  @ApiResponse({ status: 200, description: 'It does' })
  async live(): Promise<HealthCheckResult> {
    return this.health.check([]);
  }

  @Get('ready')
  @Header('cache-control', 'no-store')
  @ApiOperation({ summary: 'Can this gateway serve: do database, broker and blob store answer?' })
  @ApiResponse({ status: 200, description: 'It can' })
  @ApiResponse({ status: 503, description: 'It cannot for the moment; "errors" names what is missing' })
  async ready(): Promise<HealthCheckResult> {
    if (this.readiness.draining) {
      throw new Problem(503, 'draining', 'This gateway is shutting down; ask another one.');
    }
    const checks = await this.readiness.look();
    const missing = [...checks].filter(([, passes]) => !passes).map(([name]) => name);
    if (missing.length > 0) throw notReady(missing);
    return this.health.check([...checks.keys()].map((name) => () => ({ [name]: { status: 'up' } })));
  }
}

function notReady(missing: readonly string[]): Problem {
  const errors = missing.map((path) => ({ path, message: 'does not answer' }));
  const detail = `This gateway cannot serve for the moment: no answer from ${missing.join(', ')}.`;
  return new Problem(503, 'unavailable', detail, { errors, headers: RETRY_SOON });
}
