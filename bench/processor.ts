import { readFileSync } from 'node:fs';
import { treeOf } from './memory.js';

/** Of the kernel's clock in /proc; it is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Seconds of processor time that the process, its living descendants and those that they waited for have used. */
export function processorSeconds(pid: number): number {
  return treeOf(pid).reduce((sum, each) => sum + ticksOf(each), 0) / TICKS_PER_SECOND;
}

function ticksOf(pid: number): number {
  try {
    // The second field is the name, in brackets, and may hold blanks.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
  } catch {
    // It ended meanwhile, and counts with whoever waited for it.
    return 0;
  }
}

/** The first descendant of `pid` whose command line holds `text`. @throws {Error} there is none */
export function descendant(pid: number, text: string): number {
  const found = treeOf(pid).find((each) => commandLine(each).includes(text));
  if (found === undefined) throw new Error(`no process below ${pid} is ${text}`);
  return found;
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
