import { Logger } from '@nestjs/common';
import { Metrics } from './metrics.js';

Logger.overrideLogger(false);

test('two gateways in one process count for themselves', async () => {
  const [one, other] = [new Metrics(), new Metrics()];
  one.jobsSubmitted.inc({ queue: 'docking' });
  expect(await one.registry.getSingleMetricAsString('labhand_jobs_submitted_total')).toContain(
    'labhand_jobs_submitted_total{queue="docking"} 1',
  );
  expect(await other.registry.getSingleMetricAsString('labhand_jobs_submitted_total')).not.toContain(
    'docking',
  );
});

test('a gauge is read when it is asked for and forgets what is gone', async () => {
  const metrics = new Metrics();
  let queue = 'old';
  metrics.registerGauge('labhand_tickets', 'Tickets', ['queue'], async () => [
    { labels: { queue }, value: 3 },
  ]);
  expect(await metrics.registry.metrics()).toContain('labhand_tickets{queue="old"} 3');
  queue = 'new';
  const text = await metrics.registry.metrics();
  expect(text).toContain('labhand_tickets{queue="new"} 3');
  expect(text).not.toContain('queue="old"');
});

test('a gauge that cannot be read leaves the others', async () => {
  const metrics = new Metrics();
  metrics.registerGauge('labhand_jobs', 'Jobs', ['queue'], async () => {
    throw new Error('the database is away');
  });
  metrics.claims.inc({ queue: 'a', result: 'job' });
  const text = await metrics.registry.metrics();
  expect(text).toContain('labhand_claims_total{queue="a",result="job"} 1');
  expect(text).not.toMatch(/^labhand_jobs\b/m);
});

test('the process itself is measured', async () => {
  expect(await new Metrics().registry.metrics()).toContain('process_resident_memory_bytes');
});
