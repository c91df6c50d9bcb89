import { pathClash, relativePathFault } from './relative-path.js';

describe('relative paths', () => {
  it.each(['a', 'a/b.txt', 'data/1abc.pdb', '..a', 'a..b/c', 'naïve.txt'])('takes %p', (path) =>
    expect(relativePathFault(path)).toBeUndefined(),
  );
  it.each(['', '/etc/passwd', '../x', 'a/../../b', 'a//b', './a', 'C:\\x', 'a\\b', 'a\nb', 'x'.repeat(256)])(
    'refuses %p',
    (path) => expect(relativePathFault(path)).toEqual(expect.any(String)),
  );
  it('finds two files of one path and a file that is a folder of another', () => {
    expect(pathClash(['a', 'b', 'a'])).toEqual(['a', 'a']);
    expect(pathClash(['a/b', 'a'])).toEqual(['a', 'a/b']);
    expect(pathClash(['a/b', 'a/c', 'ab'])).toBeUndefined();
  });
});
