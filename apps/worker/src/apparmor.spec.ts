import { withHint } from './apparmor.js';

const NO_RIGHTS = 'the network interface lo could not be brought up (ioctl): EPERM';
const NO_NAMESPACES = 'the namespaces of the job, one of users among them, could not be made (clone): EPERM';

describe('why namespaces are not enforced', () => {
  it('names the profile that the worker lacks where AppArmor leaves its user namespaces without rights', () => {
    expect(withHint('isolation:namespaces', NO_RIGHTS, true)).toBe(
      `${NO_RIGHTS}; AppArmor gives programs without a profile user namespaces without rights on this host ` +
        '(kernel.apparmor_restrict_unprivileged_userns): deploy/labhand-worker.apparmor is one for workers',
    );
  });

  it.each([
    ['on other hosts and with a profile', 'isolation:namespaces', NO_RIGHTS, false],
    ['where the namespaces could not even be made', 'isolation:namespaces', NO_NAMESPACES, true],
    ['of other words', 'limit:cpu', NO_RIGHTS, true],
  ] as const)('is what the launcher said %s', (_where, word, fault, restricted) => {
    expect(withHint(word, fault, restricted)).toBe(fault);
  });
});
