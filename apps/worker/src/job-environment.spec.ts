import { jobEnvironment } from './job-environment.js';

test("a command gets the worker's path, its own variables, and LABHAND_ ones that it cannot forge", () => {
  const job = {
    jobId: 'j',
    attempt: 2,
    queue: 'default',
    env: { SEED: '7', PATH: '/opt/bin', LABHAND_QUEUE: 'x' },
  };
  const workspace = { root: '/w', directory: '/w/work', home: '/w/home', progress: '/w/progress' };
  expect(jobEnvironment(job, workspace, { PATH: '/bin', LANG: 'C.UTF-8' })).toEqual({
    PATH: '/opt/bin',
    LANG: 'C.UTF-8',
    HOME: '/w/home',
    TMPDIR: '/w/home',
    SEED: '7',
    LABHAND_JOB_ID: 'j',
    LABHAND_ATTEMPT: '2',
    LABHAND_QUEUE: 'default',
    LABHAND_INPUT: '/w/work',
    LABHAND_OUTPUT: '/w/work',
    LABHAND_PROGRESS: '/w/progress',
  });
});
