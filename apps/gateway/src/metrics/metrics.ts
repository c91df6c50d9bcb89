import { Injectable, Logger } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

const FAST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];
/** From a moment to days. */
const JOB_SECONDS = [0.01, 0.1, 1, 10, 60, 300, 1800, 7200, 28_800, 86_400, 604_800];

/** One reading of a gauge. */
export interface Reading<Label extends string> {
  readonly labels: Readonly<Record<Label, string>>;
  readonly value: number;
}

/**
 * Everything that is counted, in a registry of its own: several gateways can live in one process. Each gateway counts
 * what it did itself; gauges read the whole from the database, so they are the same on all (take the maximum).
 */
@Injectable()
export class Metrics {
  readonly registry = new Registry();
  private readonly logger = new Logger('Metrics');

  readonly httpRequestSeconds = this.histogram(
    'labhand_http_request_seconds',
    'Time from a request to the end of its answer; long polls and streams last as long as they are asked to',
    ['method', 'route', 'status'],
    FAST_SECONDS,
  );
  readonly jobsSubmitted = this.counter('labhand_jobs_submitted_total', 'Jobs that were accepted', ['queue']);
  readonly jobsFinished = this.counter('labhand_jobs_finished_total', 'Jobs that reached a final state', [
    'queue',
    'state',
    'reason',
  ]);
  readonly claims = this.counter(
    'labhand_claims_total',
    'Claims of workers, by what they got: job or empty',
    ['queue', 'result'],
  );
  readonly claimSeconds = this.histogram('labhand_claim_seconds', 'Time to answer a claim', [], FAST_SECONDS);
  readonly jobWaitSeconds = this.histogram(
    'labhand_job_wait_seconds',
    'Time from when a job could run to its start',
    ['queue'],
    JOB_SECONDS,
  );
  readonly jobRunSeconds = this.histogram(
    'labhand_job_run_seconds',
    'Time that an attempt ran',
    ['queue'],
    JOB_SECONDS,
  );
  readonly uploadBytes = this.counter('labhand_upload_bytes_total', 'Bytes of files that were taken in', []);
  readonly deliveries = this.counter('labhand_deliveries_total', 'Tries of callbacks, by result', ['result']);

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /**
   * A gauge that is read when it is asked for. When `collect` fails, the gauge is left out of that answer and the
   * others are not.
   */
  registerGauge<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: () => Promise<readonly Reading<Label>[]>,
  ): void {
    const gauge = new Gauge<Label>({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect: async () => {
        const readings = await collect().catch((error: unknown): readonly Reading<Label>[] => {
          this.logger.warn(`the gauge ${name} cannot be read`, error);
          return [];
        });
        // Only now, so that what is gone is not told for ever, and two who ask at once do not count double.
        gauge.reset();
        for (const { labels, value } of readings) gauge.set(labels, value);
      },
    });
  }

  private counter<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
  ): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  private histogram<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    buckets: number[],
  ): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.registry] });
  }
}
