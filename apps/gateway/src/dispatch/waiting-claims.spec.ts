import type { Claim } from '#shared/messages/messages.js';
import { CLAIM_WAITS_MS, WaitingClaims } from './waiting-claims.js';

describe('WaitingClaims', () => {
  const claim = (name: string, queue = 'q'): Claim => ({ claimId: name, workerId: 'w', queue });
  const namesOf = (claims: WaitingClaims, now: number, queue = 'q') => {
    const names = [];
    for (let taken; (taken = claims.take(queue, now));) names.push(taken.claimId);
    return names;
  };

  it('are taken once each, the longest waiting first', () => {
    const claims = new WaitingClaims();
    for (const name of ['a', 'b', 'c']) claims.add(claim(name), 0);
    expect(namesOf(claims, 1)).toEqual(['a', 'b', 'c']);
  });

  it('are taken for jobs of their own queues', () => {
    const claims = new WaitingClaims();
    claims.add(claim('a', 'p'), 0);
    claims.add(claim('b', 'q'), 0);
    expect(namesOf(claims, 1, 'q')).toEqual(['b']);
    expect(namesOf(claims, 1, 'p')).toEqual(['a']);
  });

  it('are taken as long as their workers were told that they wait, and no longer', () => {
    const claims = new WaitingClaims();
    expect(claims.add(claim('a'), 0)).toBe(CLAIM_WAITS_MS);
    claims.add(claim('b'), 10);
    expect(namesOf(claims, CLAIM_WAITS_MS)).toEqual(['b']);
    claims.add(claim('c'), 100);
    expect(namesOf(claims, 100 + CLAIM_WAITS_MS - 1)).toEqual(['c']);
  });
});
