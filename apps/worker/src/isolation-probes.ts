import type { Probe } from './probe.js';

const MEBI = 1024 * 1024;

/** Doubles what it holds until somebody stops it; sh alone, so that no image lacks a program for it. */
const EATS_MEMORY = 'a=0123456789abcdef; while :; do a=$a$a; done';
const TURNS = 'while :; do :; done';

/** What namespaces and control groups give. */
export const ISOLATION_PROBES: readonly Probe[] = [
  {
    word: 'isolation:namespaces',
    limits: { isolation: 'namespaces', network: false },
    script: `set -- /proc/[0-9]*; echo "processes: $#"
      [ -e "$SECRET" ] && echo 'sees the secret'
      (: > "$OUTSIDE/file") 2>/dev/null && echo 'writes outside'
      (: > file) 2>/dev/null && (: > /tmp/file) 2>/dev/null && echo 'writes inside'
      while read -r name rest; do case "$name" in *:) echo "network: $name";; esac; done < /proc/self/net/dev`,
    shows: (_result, output) => output === 'processes: 2\nwrites inside\nnetwork: lo:\n',
  },
  {
    word: 'isolation:cgroup',
    limits: { isolation: 'cgroup', memory: 16 * MEBI },
    script: `(${EATS_MEMORY}); exit 1`,
    shows: ({ cause }) => cause === 'out_of_memory',
  },
  {
    word: 'limit:cpu',
    limits: { cpu: 0.1, wallTime: 0.6 },
    script: TURNS,
    shows: ({ cause, cpuSeconds = Infinity }) => cause === 'timeout' && cpuSeconds < 0.3,
  },
  {
    word: 'limit:ioRead',
    limits: { ioRead: MEBI },
    script: `dd if=/dev/zero of=file bs=64k count=8 conv=fsync && dd if=file of=/dev/null bs=64k iflag=direct && echo read`,
    shows: ({ wallSeconds }, output) => output === 'read\n' && wallSeconds > 0.3,
  },
  {
    word: 'limit:ioWrite',
    limits: { ioWrite: MEBI },
    script: `dd if=/dev/zero of=file bs=64k count=8 conv=fsync && echo written`,
    shows: ({ wallSeconds }, output) => output === 'written\n' && wallSeconds > 0.3,
  },
];
