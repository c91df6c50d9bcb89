import { readFileSync } from 'node:fs';
import type { Requirement } from '#shared/job/requirements.js';

/** Ubuntu's, from 24.04 on. With 1, programs without a profile of their own get user namespaces without rights. */
const SWITCH = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns';

/**
 * Why the host does not enforce something, and where to read on if AppArmor takes the rights in user namespaces: the
 * namespaces are made then, and what comes next in them is refused.
 */
export function withHint(word: Requirement, fault: string, restricted = isRestricted()): string {
  const isMade = word === 'isolation:namespaces' && !fault.includes('(clone)');
  if (!restricted || !isMade) return fault;
  return (
    `${fault}; AppArmor gives programs without a profile user namespaces without rights on this host ` +
    `(kernel.apparmor_restrict_unprivileged_userns): deploy/labhand-worker.apparmor is one for workers`
  );
}

function isRestricted(): boolean {
  try {
    return readFileSync(SWITCH, 'utf8').trim() === '1';
  } catch {
    return false;
  }
}
