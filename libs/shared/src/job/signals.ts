/** What a client may send to a running job, by name. */

export const SENDABLE_SIGNALS = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGKILL',
  'SIGUSR1',
  'SIGSEGV',
  'SIGUSR2',
  'SIGPIPE',
  'SIGALRM',
  'SIGTERM',
  'SIGCHLD',
  'SIGURG',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGVTALRM',
  'SIGPROF',
  'SIGWINCH',
  'SIGIO',
  'SIGPWR',
  'SIGSYS',
] as const;
export type SendableSignal = (typeof SENDABLE_SIGNALS)[number];

/** These stop a job behind our back, its wall time going on; pause and resume are for that. */
export const STOPPING_SIGNALS = ['SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGCONT'] as const;

export const SIGNAL_TARGETS = ['main', 'group'] as const;
export type SignalTarget = (typeof SIGNAL_TARGETS)[number];
