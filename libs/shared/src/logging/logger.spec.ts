import { createLogger } from './logger.js';

function logger(level: 'debug' | 'info' = 'info') {
  const lines: string[] = [];
  const log = createLogger({ name: 'test', level, destination: { write: (line) => void lines.push(line) } });
  return { log, lines, line: () => JSON.parse(lines.at(-1)!) as Record<string, unknown> };
}

test('a line is one JSON object with level, ISO time, name, context and message', () => {
  const { log, lines, line } = logger();
  log.log('listening', 'Main');
  expect(lines).toHaveLength(1);
  expect(lines[0]!.endsWith('}\n')).toBe(true);
  expect(line()).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    name: 'test',
    context: 'Main',
    msg: 'listening',
  });
});

test('fields of objects after the message go into the line', () => {
  const { log, line } = logger();
  log.warn('slow claim', { queue: 'docking', ms: 900 }, 'Claims');
  expect(line()).toMatchObject({ msg: 'slow claim', queue: 'docking', ms: 900, context: 'Claims' });
});

test('an error keeps its stack and its cause', () => {
  const { log, line } = logger();
  log.error('the claim failed', new Error('outer', { cause: new Error('inner') }), 'Claims');
  expect(line()).toMatchObject({ msg: 'the claim failed', context: 'Claims', err: { type: 'Error' } });
  expect((line()['err'] as { stack: string }).stack).toMatch(/outer[\s\S]*inner/);
});

test("a stack as Nest's own logger passes it is no context", () => {
  const { log, line } = logger();
  log.error('failed', new Error('x').stack, 'Claims');
  expect(line()).toMatchObject({
    msg: 'failed',
    context: 'Claims',
    stack: expect.stringContaining('Error: x'),
  });
});

test('lines below the level are not written', () => {
  const { log, lines } = logger('info');
  log.debug('details');
  expect(lines).toEqual([]);
});

test('a line stays one JSON object when secrets are taken out of it', () => {
  const { log, lines, line } = logger();
  log.log(
    'amqp://labhand:p@ss@rabbit:5672/ failed\nlh_abcdefghijkl_0123456789012345678901234567890123456789012',
    { authorization: 'Basic "quoted"', headers: { 'x-api-key': 'k1' }, password: 'p"\\' },
  );
  expect(lines[0]).not.toMatch(/p@ss|ss@|0123456|quoted|k1|p\\"/);
  expect(line()).toMatchObject({ password: '[redacted]', authorization: '[redacted]' });
});

test('what Nest tells of its own start is for debugging, its errors are not', () => {
  const { log, lines } = logger('info');
  log.log('Mapped {/v1/jobs, POST} route', 'RouterExplorer');
  log.error('cannot resolve', 'RouterExplorer');
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['cannot resolve']);
});
