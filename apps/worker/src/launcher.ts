/**
 * The worker's side of the launcher: the small process beside the worker that starts, limits, watches, measures
 * and ends jobs. Two programs speak its protocol (the C one and the Node one) and pass one conformance suite.
 */

export interface LaunchOrder {
  /** Names the run in the protocol; unique among those under way. */
  readonly id: string;
  readonly command: readonly string[];
  /** The whole environment of the job; nothing is added to it. `PATH` in it finds the program. */
  readonly env: Readonly<Record<string, string>>;
  /** Working directory. */
  readonly directory: string;
  /** Files for the output, opened for appending. */
  readonly stdout: string;
  readonly stderr: string;
  /** Where the launcher writes the result too, so that it outlives the worker; undefined for nowhere. */
  readonly record?: string;
  /** Seconds until the tree is ended with cause `timeout`; 0 for never. Time spent paused does not count. */
  readonly wallTime: number;
  /** Seconds between TERM and KILL. */
  readonly killGrace: number;
  /** Seconds without output until the tree is ended with cause `idle`; time spent paused does not count. */
  readonly idleTime?: number;
  /** What must be enforced: where it cannot be, the job does not run. Without it the launcher does what it can. */
  readonly isolation?: Isolation;
  /** Cores. */
  readonly cpu?: number;
  /** Bytes: of the tree with isolation `cgroup`, else of each process. */
  readonly memory?: number;
  readonly processes?: number;
  readonly openFiles?: number;
  /** Bytes of any one file that it writes, its output included. */
  readonly fileSize?: number;
  /** Bytes below `writable`. */
  readonly disk?: number;
  /** Bytes a second. */
  readonly ioRead?: number;
  readonly ioWrite?: number;
  /** False: no network. */
  readonly network?: boolean;
  /** User and group of the job, for a launcher with the capability `ownUid`; it is given what is `writable`. */
  readonly uid?: number;
  /** Folders that alone the job may write below; none: all. Heeded by a launcher that enforces `isolation:process`. */
  readonly writable?: readonly string[];
  /** Folders that it must not read, but for what is `writable`; heeded likewise. */
  readonly hidden?: readonly string[];
}

export type Isolation = 'process' | 'namespaces' | 'cgroup';

export interface LaunchResult {
  /**
   * `spawn_error`: it never ran. `timeout`: outlived its wall time. `idle`: no output for its idle time. `disk`: over its
   * disk limit. `out_of_memory`: the kernel killed it for its memory limit. `ended`: ended on order.
   */
  readonly cause: 'exit' | 'timeout' | 'idle' | 'disk' | 'out_of_memory' | 'ended' | 'spawn_error';
  readonly exitCode?: number;
  /** Name of the signal that the main process died of, such as SIGSEGV. */
  readonly signal?: string;
  /** Why it could not be started, ending with the system's error name, such as `ENOENT`. */
  readonly error?: string;
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly wallSeconds: number;
  readonly cpuSeconds?: number;
  readonly maxMemoryBytes?: number;
  /** At once, as far as they were seen. */
  readonly maxProcesses?: number;
  /** From and to storage; what the page cache had was not read. */
  readonly readBytes?: number;
  readonly writtenBytes?: number;
  readonly pausedSeconds?: number;
}

/** One job's processes, from start until nothing of them is left. */
export interface ProcessTree {
  /** Resolves when the whole tree is gone; rejects with LauncherDiedError when the launcher died before it could tell. */
  readonly ended: Promise<LaunchResult>;
  /** TERM to the tree, KILL after the grace time to what is left of it; idempotent. */
  end(): void;
  /** KILL to the tree at once. */
  kill(): void;
  /** Stops every process of the tree. Resolves with true when none runs, with false when the tree ended instead. */
  pause(): Promise<boolean>;
  /** Lets it go on. Resolves with true when that was done, with false when the tree ended instead. */
  resume(): Promise<boolean>;
  /**
   * Sends a signal to the main process or its group; nothing where the main process is over.
   * @param name such as `SIGUSR1`; one that is not known does nothing
   */
  signal(name: string, target: 'main' | 'group'): void;
}

export interface Launcher {
  /** `native` (the C program) or `node`. */
  readonly kind: 'native' | 'node';
  /** The C program, as a command that does what probes need (launcher/probe.c); undefined: the Node program. */
  readonly probeProgram?: string;
  /** What this launcher says of itself; what it can enforce on this host is found out by probes (capabilities.ts). */
  readonly capabilities: Readonly<Record<string, boolean | string>>;
  /** Of the launcher's present process. */
  readonly pid: number | undefined;
  /** Called with the process that takes the place of one that died. */
  onReplaced?: (pid: number) => void;
  start(order: LaunchOrder): ProcessTree;
  /** Ends every tree and the launcher. */
  close(): Promise<void>;
}

/** The launcher itself died; its trees were ended with it. A new one is started for the next order. */
export class LauncherDiedError extends Error {
  constructor(detail: string) {
    super(`the launcher process ended unexpectedly (${detail}); its jobs were ended with it`);
  }
}
