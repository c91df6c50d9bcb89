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
}

export interface LaunchResult {
  /** `spawn_error`: it never ran. `timeout`: outlived its wall time. `ended`: ended on order. */
  readonly cause: 'exit' | 'timeout' | 'ended' | 'spawn_error';
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
}

/** One job's processes, from start until nothing of them is left. */
export interface ProcessTree {
  /** Resolves when the whole tree is gone; rejects with LauncherDiedError when the launcher died before it could tell. */
  readonly ended: Promise<LaunchResult>;
  /** TERM to the tree, KILL after the grace time to what is left of it; idempotent. */
  end(): void;
  /** KILL to the tree at once. */
  kill(): void;
}

export interface Launcher {
  /** `native` (the C program) or `node`. */
  readonly kind: 'native' | 'node';
  /** What this launcher can do, as it goes into the worker's registration. */
  readonly capabilities: Readonly<Record<string, boolean | string>>;
  /** Of the launcher's present process. */
  readonly pid: number | undefined;
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
