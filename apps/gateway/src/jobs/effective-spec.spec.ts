import { z } from 'zod';
import { jobSpec, queueSettings, type JobSpecInput } from '#shared/job/job-spec.js';
import type { Problem } from '../http/problem.js';
import { effectiveSpec } from './effective-spec.js';

const resolve = (job: JobSpecInput, queue: z.input<typeof queueSettings> = {}, paths: string[] = []) =>
  effectiveSpec(jobSpec.parse(job), queueSettings.parse(queue), new Set(paths));

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
  it("lets the job's variables win over the queue's", () => {
    expect(resolve({ command: ['x'], env: { A: '2' } }, { env: { A: '1', B: '1' } }).env).toEqual({
      A: '2',
      B: '1',
    });
  });
});
