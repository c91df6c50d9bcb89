import type { Bound, Summary } from './figures.js';

const HEAD = ['what', 'median', 'least to most', 'promised', 'reached'];

/** A table in Markdown whose columns also line up as plain text. */
export function tableOf(summaries: readonly Summary[]): string {
  const rows = [HEAD, ...summaries.map(cells)];
  const widths = HEAD.map((_head, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => pad(cell, widths[column]!, column)).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (isNumber(column) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width))).join(' | ')} |`;
  return [line(HEAD), rule, ...rows.slice(1).map(line)].join('\n');
}

function cells({ name, unit, median, least, most, rounds, bound, ratio, kept }: Summary): string[] {
  return [
    name,
    `${shown(median)} ${unit}`,
    rounds > 1 ? `${shown(least)} to ${shown(most)}` : '',
    bound ? promised(bound) : '',
    bound === undefined ? '' : `${ratio === undefined ? '' : `${ratio.toFixed(2)} `}${verdict(kept)}`,
  ];
}

function promised({ atLeast, atMost, of }: Bound): string {
  const amount = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
  return of ? `${amount} of ${of}` : amount;
}

function verdict(kept: boolean | undefined): string {
  return kept === undefined ? 'not compared' : kept ? 'yes' : 'NO';
}

/** Three digits that count. */
function shown(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 3));
}

function isNumber(column: number): boolean {
  return column === 1 || column === 2;
}

function pad(cell: string, width: number, column: number): string {
  return isNumber(column) ? cell.padStart(width) : cell.padEnd(width);
}
