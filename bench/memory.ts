import { readdirSync, readFileSync } from 'node:fs';

const MIB = 1024;

/** MiB that are in memory now, shared pages counted whole. */
export function residentMiB(pid: number): number {
  return statusField(pid, 'VmRSS');
}

/** MiB, at the worst moment since the process began. */
export function peakResidentMiB(pid: number): number {
  return statusField(pid, 'VmHWM');
}

/** MiB, of shared pages only this process's share. */
export function proportionalMiB(pid: number): number {
  return kibibytes(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'), 'Pss') / MIB;
}

/** The process and all that descend from it. */
export function treeOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(treeOf)];
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    // It ended while we looked.
    return [];
  }
}

function statusField(pid: number, name: string): number {
  return kibibytes(readFileSync(`/proc/${pid}/status`, 'utf8'), name) / MIB;
}

function kibibytes(text: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text);
  if (!match) throw new Error(`the kernel says nothing of ${name}`);
  return Number(match[1]);
}
