import { z } from 'zod';
import { jobSpec, queueSettings, type Isolation, type JobSpecInput } from '#shared/job/job-spec.js';
import type { Problem } from '../http/problem.js';
import { effectiveSpec } from './effective-spec.js';

const resolve = (job: JobSpecInput, queue: z.input<typeof queueSettings> = {}, paths: string[] = []) =>
  effectiveSpec(jobSpec.parse(job), queueSettings.parse(queue), new Set(paths), INFRASTRUCTURE);
const INFRASTRUCTURE = { tries: 5, backoff: 10, backoffMax: 300 };

function faultOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return (error as Problem).errors?.[0]?.path;
  }
  return undefined;
}

describe('effectiveSpec', () => {
  it("takes the job's command where the queue allows any", () => {
    expect(resolve({ command: ['ls', '-l'] }).command).toEqual(['ls', '-l']);
  });
  it("appends arguments to the queue's command", () => {
    expect(resolve({ args: ['x'] }, { policy: 'fixed', command: ['blast'] }).command).toEqual(['blast', 'x']);
  });
  it('runs the script that a job brings', () => {
    expect(resolve({}, { policy: 'script' }, ['run.sh']).command).toEqual(['/bin/sh', 'run.sh']);
    expect(resolve({}, {}, ['run.sh']).command).toEqual(['/bin/sh', 'run.sh']);
  });
  it('refuses what the policy forbids, naming the field', () => {
    const fixed = { policy: 'fixed' as const, command: ['blast'] };
    expect(faultOf(() => resolve({ command: ['sh'] }, fixed))).toBe('command');
    expect(faultOf(() => resolve({ env: { A: '1' } }, fixed))).toBe('env');
    expect(faultOf(() => resolve({ command: ['sh'] }, { policy: 'script' }, ['run.sh']))).toBe('command');
    expect(faultOf(() => resolve({}, { policy: 'script' }))).toBe('inputs');
    expect(faultOf(() => resolve({}))).toBe('command');
  });
  it('works in defaults and refuses more than the most', () => {
    const queue = { limits: { wallTime: 60 }, maxLimits: { wallTime: 100, output: 1000 } };
    expect(resolve({ command: ['x'] }, queue).limits).toEqual({ wallTime: 60, killGrace: 10, output: 1000 });
    expect(resolve({ command: ['x'], limits: { wallTime: '90s' } }, queue).limits.wallTime).toBe(90);
    expect(faultOf(() => resolve({ command: ['x'], limits: { wallTime: '2h' } }, queue))).toBe(
      'limits.wallTime',
    );
  });
  it('gives the maximum where the queue has no default, and to a job that asks for nothing', () => {
    const queue = { maxLimits: { memory: '4Gi', cpu: 2, network: false } };
    expect(resolve({ command: ['x'] }, queue).limits).toMatchObject({
      memory: 4 * 2 ** 30,
      cpu: 2,
      network: false,
    });
    const inside = resolve({ command: ['x'], limits: { memory: '1Gi', cpu: 0.5 } }, queue).limits;
    expect(inside).toMatchObject({ memory: 2 ** 30, cpu: 0.5, network: false });
  });
  it.each([
    ['memory', '2Gi', '1Gi'],
    ['cpu', 2, 1.5],
    ['idleTime', '1h', 60],
    ['processes', 11, 10],
    ['openFiles', 11, 10],
    ['fileSize', '2Ki', '1Ki'],
    ['disk', '2Ki', '1Ki'],
    ['ioRead', '2Ki', '1Ki'],
    ['ioWrite', '2Ki', '1Ki'],
    ['network', true, false],
  ])('refuses more %s than the queue allows', (name, asked, most) => {
    const job = { command: ['x'], limits: { [name]: asked } };
    expect(faultOf(() => resolve(job, { maxLimits: { [name]: most } }))).toBe(`limits.${name}`);
  });
  it('limits only what somebody limits', () => {
    expect(Object.keys(resolve({ command: ['x'] }).limits)).toEqual(['wallTime', 'killGrace', 'output']);
    expect(resolve({ command: ['x'], limits: { network: true } }).limits).not.toHaveProperty('network');
    expect(
      resolve({ command: ['x'], limits: { network: true } }, { limits: { network: false } }).limits,
    ).not.toHaveProperty('network');
  });
  it("raises the queue's isolation and never lowers it", () => {
    const level = (job?: Isolation, queue?: Isolation) =>
      resolve({ command: ['x'], isolation: job }, { isolation: queue }).isolation;
    expect(level()).toBeUndefined();
    expect(level('process')).toBe('process');
    expect(level(undefined, 'namespaces')).toBe('namespaces');
    expect(level('process', 'namespaces')).toBe('namespaces');
    expect(level('cgroup', 'namespaces')).toBe('cgroup');
  });
  it("takes each part of a retry from the job, the queue, the gateway's configuration", () => {
    const queue = { retry: { tries: 3, on: ['timeout' as const], infrastructure: { tries: 9 } } };
    expect(resolve({ command: ['x'], retry: { backoff: '1m', jitter: 0.5 } }, queue).retry).toEqual({
      tries: 3,
      on: ['timeout'],
      backoff: 60,
      backoffMax: 3600,
      jitter: 0.5,
      infrastructure: { tries: 9, backoff: 10, backoffMax: 300 },
    });
  });
  it("lets the job's variables win over the queue's", () => {
    expect(resolve({ command: ['x'], env: { A: '2' } }, { env: { A: '1', B: '1' } }).env).toEqual({
      A: '2',
      B: '1',
    });
  });
});
