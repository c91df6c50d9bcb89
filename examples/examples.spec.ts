import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** The programs as a worker runs them: the submitted files in a folder of their own, nothing else. */

type Row = Record<string, string>;

let folder: string;
const output = (name: string) => readFileSync(path.join(folder, name), 'utf8');
const copyExample = (name: string) => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'labhand-example-'));
  cpSync(path.join('examples', name), folder, { recursive: true });
};

describe('the contacts of a protein', () => {
  let log: string;
  let residues: Row[];
  let contacts: Row[];

  beforeAll(() => {
    copyExample('protein-contacts');
    const env = { PATH: process.env.PATH, LABHAND_PROGRESS: path.join(folder, 'progress') };
    log = execFileSync('node', ['contacts.mjs', 'model.pdb', '--chains', '200'], {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    residues = table(output('residues.tsv'));
    contacts = table(output('contacts.tsv'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('tells of every residue of the file', () => {
    const names = atoms('CA').map(({ residue, chain, number }) => `${chain}:${residue}${number}`);
    expect(names).toHaveLength(66);
    expect(residues.map((row) => row.residue)).toEqual(names);
  });

  it('finds the helices and the hairpin that the model was built of', () => {
    const structure = residues.map((row) => row.structure).join('');
    expect(structure.slice(3, 21)).toBe('H'.repeat(18));
    expect(structure.slice(27, 45)).toBe('H'.repeat(18));
    expect(structure.slice(52, 57)).toBe('E'.repeat(5));
    expect(structure.slice(60, 64)).toBe('E'.repeat(4));
  });

  it('finds every contact of a helix from one turn to the next', () => {
    const pairs = new Set(contacts.map((row) => `${place(row.first)}-${place(row.second)}`));
    for (let i = 4; i <= 18; i++) expect(pairs).toContain(`${i}-${i + 4}`);
  });

  it('finds the strands of the hairpin side by side', () => {
    const pairs = new Set(contacts.map((row) => `${place(row.first)}-${place(row.second)}`));
    for (let i = 0; i < 4; i++) expect(pairs).toContain(`${57 - i}-${60 + i}`);
  });

  it('agrees with the coordinates on each distance', () => {
    const points = new Map([...atoms('CA'), ...atoms('CB')].map(({ number, xyz }) => [number, xyz]));
    expect(contacts.length).toBeGreaterThan(100);
    for (const row of contacts) {
      const apart = distance(points.get(place(row.first))!, points.get(place(row.second))!);
      expect(Number(row.distance)).toBeCloseTo(apart, 1);
      expect(apart).toBeLessThan(8);
    }
  });

  it('works on helices that rise 1.5 Å a residue, by five turns of 18 residues', () => {
    const alphas = atoms('CA');
    for (const start of [2, 26]) {
      const rise = distance(alphas[start]!.xyz, alphas[start + 18]!.xyz) / 18;
      expect(rise).toBeGreaterThan(1.4);
      expect(rise).toBeLessThan(1.6);
    }
  });

  it('reports the numbers of the whole', () => {
    const report = output('report.txt');
    expect(report).toMatch(/^residues +66$/m);
    expect(report).toMatch(new RegExp(`^contacts .* ${contacts.length}$`, 'm'));
    expect(Number(/^radius of gyration +([\d.]+) Å$/m.exec(report)?.[1])).toBeCloseTo(11.9, 0);
  });

  it('draws one mark for each contact and each residue with both angles, in well-formed XML', () => {
    const svg = output('contact-map.svg');
    expect(openElements(svg)).toEqual([]);
    expect(svg.match(/<circle /g)).toHaveLength(residues.filter((row) => row.phi && row.psi).length);
  });

  it('says how far it is, in the log and where the worker looks', () => {
    const steps = output('progress')
      .trim()
      .split('\n')
      .map((line) => Number(line.split(' ')[0]));
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect([steps[0], steps.at(-1)]).toEqual([0, 100]);
    expect(log).toContain('66 residues');
  });

  it('says what it expects when it is given nothing, and fails', () => {
    const { status, stderr } = spawnSync('node', ['contacts.mjs'], { cwd: folder, encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr).toContain('usage: node contacts.mjs FILE.pdb');
  });
});

const hasPython = spawnSync('python3', ['--version']).status === 0;

// A machine with Node alone is enough for everything else.
if (hasPython) {
  describe('the composition of sequences', () => {
    let rows: Row[];

    beforeAll(() => {
      copyExample('sequence-composition');
      execFileSync('python3', ['composition.py', 'sequences.fasta'], { cwd: folder });
      rows = table(output('composition.tsv'));
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    it('counts each residue once', () => {
      expect(rows.map((row) => Number(row.length))).toEqual([66, 52, 50, 49]);
      const shares = Object.entries(rows[0]!).filter(([column]) => column.length === 1);
      expect(shares).toHaveLength(20);
      expect(shares.reduce((sum, [, share]) => sum + Number(share), 0)).toBeCloseTo(100, 0);
    });

    it('weighs the protein as its residues and one water do', () => {
      expect(Number(rows[0]!.mass)).toBeCloseTo(7547.6, 1);
    });

    it('knows acidic from basic', () => {
      const point = Object.fromEntries(rows.map((row) => [row.name, Number(row.pI)]));
      expect(point['acidic-tail']).toBeLessThan(4);
      expect(point['basic-binder']).toBeGreaterThan(11);
    });

    it('draws a line for each sequence, in well-formed XML', () => {
      const svg = output('hydropathy.svg');
      expect(openElements(svg)).toEqual([]);
      expect(svg.match(/<polyline /g)).toHaveLength(rows.length);
    });

    it('names the line and the letter of what is no sequence', () => {
      writeFileSync(path.join(folder, 'wrong.fasta'), '>a\nMKV\nMK1V\n');
      const { status, stderr } = spawnSync('python3', ['composition.py', 'wrong.fasta'], {
        cwd: folder,
        encoding: 'utf8',
      });
      expect(status).toBe(1);
      expect(stderr).toContain("wrong.fasta: line 3: no amino acid has the letter '1'");
    });
  });
}

function table(text: string): Row[] {
  const [head = [], ...rows] = text
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  return rows.map((row) => Object.fromEntries(head.map((name, column) => [name, row[column] ?? ''])));
}

const place = (label: string | undefined) => Number(/\d+$/.exec(label ?? '')?.[0]);
const distance = (a: number[], b: number[]) => Math.hypot(...a.map((x, axis) => x - b[axis]!));

/** The atoms of one name in model.pdb, by the columns of the format. */
function atoms(name: string) {
  const lines = output('model.pdb').split('\n');
  return lines
    .filter((line) => line.startsWith('ATOM') && line.slice(12, 16).trim() === name)
    .map((line) => ({
      residue: line.slice(17, 20),
      chain: line[21],
      number: Number(line.slice(22, 26)),
      xyz: [30, 38, 46].map((at) => Number(line.slice(at, at + 8))),
    }));
}

/** Names of the elements that are opened and not closed again, in order; closing another one throws. */
function openElements(xml: string): string[] {
  const open: string[] = [];
  for (const [, closing, name, rest] of xml.matchAll(/<(\/?)([a-z]+)((?:[^<>"]|"[^"<]*")*)>/gi)) {
    if (closing && open.pop() !== name) throw new Error(`</${name}> closes nothing`);
    if (!closing && !rest!.endsWith('/')) open.push(name!);
  }
  return open;
}
