import { readFileSync } from 'node:fs';
import os from 'node:os';

/** What the numbers were measured on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
  readonly postgres: string;
  readonly rabbitmq: string;
  /** Of the last minute when the bench began: above a half, somebody else was at work too. */
  readonly loadBefore: number;
}

export function describeMachine(versions: Pick<Machine, 'postgres' | 'rabbitmq'>): Machine {
  const cpus = os.cpus();
  return {
    processor: cpus[0]?.model.trim() ?? 'unknown',
    cores: cpus.length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    system: systemName(),
    node: process.versions.node,
    ...versions,
    loadBefore: Math.round(os.loadavg()[0]! * 100) / 100,
  };
}

export function machineLine(machine: Machine): string {
  const { processor, cores, memoryGiB, kernel, system, node, postgres, rabbitmq, loadBefore } = machine;
  return (
    `${processor}, ${cores} cores, ${memoryGiB} GiB; ${system}, Linux ${kernel}; Node ${node}, ` +
    `Postgres ${postgres}, RabbitMQ ${rabbitmq}; load before: ${loadBefore}`
  );
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? os.type();
  } catch {
    return os.type();
  }
}
