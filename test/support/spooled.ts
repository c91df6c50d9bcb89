import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** What a worker's state directory holds of attempts: their keys, and files that are nobody's. Blank logs do not count. */
export function spooled(stateDir: string): string[] {
  const folder = join(stateDir, 'attempts');
  const table = join(folder, 'held');
  const holders = existsSync(table) ? readFileSync(table, 'latin1').split('\n') : [];
  const keys = holders.map((line) => line.trim()).filter((key) => key !== '');
  const isHeld = (file: string) => holders[Number(file.split('.')[0])]?.trim();
  const isBlankLog = (file: string) =>
    /\.std(out|err)$/.test(file) && !statSync(join(folder, file), { throwIfNoEntry: false })?.size;
  const strays = readdirSync(folder).filter((file) => file !== 'held' && !isHeld(file) && !isBlankLog(file));
  return [...keys, ...strays];
}
