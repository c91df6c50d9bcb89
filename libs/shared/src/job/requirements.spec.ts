import { maskOf, requirementsOf, REQUIREMENTS, strongerIsolation, wordsOf } from './requirements.js';

describe('requirements', () => {
  it('a job with limits that every worker enforces requires nothing', () => {
    expect(requirementsOf({ wallTime: 60, killGrace: 10, output: 1000 }, undefined)).toEqual([]);
  });

  it('a job requires what its limits and its isolation need', () => {
    expect(requirementsOf({ wallTime: 60, memory: 1, network: false }, 'namespaces')).toEqual([
      'isolation:namespaces',
      'limit:memory',
      'limit:network',
    ]);
  });

  it('every word has a bit of its own, and comes back from it', () => {
    expect(new Set(REQUIREMENTS.map((word) => maskOf([word]))).size).toBe(REQUIREMENTS.length);
    expect(wordsOf(maskOf(REQUIREMENTS))).toEqual(REQUIREMENTS);
    expect(wordsOf(0)).toEqual([]);
  });

  it('a word that is not known is worth nothing', () => {
    expect(maskOf(['limit:memory', 'limit:light', ''])).toBe(maskOf(['limit:memory']));
  });

  it('the stronger level wins, whoever asks for it', () => {
    expect(strongerIsolation('cgroup', 'process')).toBe('cgroup');
    expect(strongerIsolation(undefined, 'process')).toBe('process');
    expect(strongerIsolation(undefined, undefined)).toBeUndefined();
  });
});
