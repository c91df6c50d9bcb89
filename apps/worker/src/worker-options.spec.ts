import { readWorkerOptions } from './worker-options.js';

describe('the command line of a worker', () => {
  it.each([
    [[], 'run', {}],
    [['health'], 'health', {}],
    [['run', '--once'], 'run', { LABHAND_MAX_JOBS: '1' }],
    [['--max-jobs', '3', '--idle-timeout=5m'], 'run', { LABHAND_MAX_JOBS: '3', LABHAND_IDLE_TIMEOUT: '5m' }],
    [['--help', '--once'], 'help', {}],
  ])('%j', (args, command, variables) => {
    expect(readWorkerOptions(args)).toEqual({ command, variables });
  });

  it.each([
    [['helth'], 'there is no command "helth"; did you mean "health"?'],
    [['--onse'], 'there is no option "--onse"; did you mean "once"?'],
    [['--max-jobs'], '--max-jobs wants a value'],
    [['--once=2'], '--once takes no value'],
    [['--once', '--max-jobs', '2'], 'give one of them'],
    [['run', 'health'], '"health" is one word too many'],
  ])('%j is refused', (args, message) => {
    expect(() => readWorkerOptions(args)).toThrow(message);
  });
});
