import { readFileSync, writeFileSync } from 'node:fs';
import { FAULTS, type End, type Fault, type Row } from './fault-rows.js';

const DOCUMENT = 'docs/reliability.md';
const BEGIN = '<!-- the fault matrix, from test/faults/fault-rows.ts -->';
const END = '<!-- the end of the fault matrix -->';

/** Where the tests of a part stand. */
const SPECS: Readonly<Record<Fault['part'], string>> = {
  worker: 'worker-faults',
  launcher: 'worker-faults',
  gateway: 'gateway-faults',
  database: 'gateway-faults',
  broker: 'service-faults',
  'blob store': 'service-faults',
  network: 'network-faults',
};

describe(`the fault matrix in ${DOCUMENT}`, () => {
  it('says what the tests hold Labhand to (LABHAND_WRITE_DOCS=1 writes it anew)', () => {
    const text = readFileSync(DOCUMENT, 'utf8');
    const [before, rest] = text.split(BEGIN);
    const [, after] = rest!.split(END);
    const written = `${before}${BEGIN}\n\n${table()}\n\n${END}${after}`;
    if (process.env.LABHAND_WRITE_DOCS) writeFileSync(DOCUMENT, written);
    else expect(text).toBe(written);
  });

  it('has at least forty rows, over every part', () => {
    expect(FAULTS.flatMap(({ rows }) => rows).length).toBeGreaterThanOrEqual(40);
    expect(new Set(FAULTS.map(({ part }) => part)).size).toBe(Object.keys(SPECS).length);
  });
});

function table(): string {
  return FAULTS.map(section).join('\n\n');
}

function section({ part, what, how, rows }: Fault): string {
  return [
    `**The ${part} ${what}** (${how}; \`${SPECS[part]}\`):`,
    '',
    '| a job | test: `a job …` | ends | attempts |',
    '| --- | --- | --- | --- |',
    ...rows.map(line),
  ].join('\n');
}

function line({ moment, fact, end }: Row): string {
  return `| ${moment} | ${fact} | ${ends(end)} | ${end.attempts.join(' or ')} |`;
}

function ends({ state, reason }: End): string {
  return [state ?? 'once', reason && `\`${reason}\``].filter(Boolean).join(' ');
}
