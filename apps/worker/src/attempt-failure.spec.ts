import { AttemptFailure, isFaultOfTheHost } from './attempt-failure.js';

const systemError = (code: string) => Object.assign(new Error(`${code}: it went wrong`), { code });

describe('a failure of an attempt', () => {
  it.each(['ENOSPC', 'EDQUOT', 'EMFILE', 'EIO'])('by %s lies around the job', (code) => {
    expect(new AttemptFailure('output_error', 'It failed.', systemError(code)).infrastructure).toBe(true);
  });

  it('by what a full disk did to a reader lies around it too', () => {
    expect(isFaultOfTheHost(new Error('cannot be read', { cause: systemError('ENOSPC') }))).toBe(true);
  });

  it.each([systemError('ENOENT'), new Error('damaged'), undefined])('by %s is its own', (cause) => {
    expect(new AttemptFailure('input_error', 'It failed.', cause).infrastructure).toBe(false);
  });
});
