import { readFileSync } from 'node:fs';
import type { Requirement } from '#shared/job/requirements.js';

/** Ubuntu's, from 24.04 on. With 1, programs without a profile of their own get user namespaces without rights. */
const SWITCH = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns';
const OWN_PROFILE = '/proc/self/attr/apparmor/current';

/** Why the host does not enforce something, and where that may be AppArmor's doing, what the worker lacks. */
export function withHint(word: Requirement, fault: string, lacksProfile = doesLackProfile()): string {
  // Namespaces without rights can be made: it is what comes next in them that is refused.
  if (word !== 'isolation:namespaces' || fault.includes('(clone)') || !lacksProfile) return fault;
  return (
    `${fault}; AppArmor gives programs without a profile user namespaces without rights on this host ` +
    `(kernel.apparmor_restrict_unprivileged_userns): deploy/labhand-worker.apparmor is one for workers`
  );
}

/** In a container with Docker's own profile it is that which refuses. */
function doesLackProfile(): boolean {
  try {
    return [SWITCH, OWN_PROFILE].map((path) => readFileSync(path, 'utf8').trim()).join() === '1,unconfined';
  } catch {
    return false;
  }
}
