// Wrote model.pdb: a protein that does not exist, built from ideal backbone geometry. Two helices and a hairpin,
// with the loops between them turned until the chain is compact and nothing collides. `node build-model.mjs`
import { writeFileSync } from 'node:fs';
import { distance, gyration, placeAtom, randomNumbers } from './protein.mjs';

// Engh & Huber (1991), rounded.
const BOND = { 'N-CA': 1.458, 'CA-C': 1.525, 'C-N': 1.329, 'C-O': 1.231 };
const ANGLE = { 'N-CA-C': 111.0, 'CA-C-N': 117.2, 'C-N-CA': 121.7, 'CA-C-O': 120.1 };
const HELIX = [-57, -47];
const STRAND = [-126, 116];
/** A tight turn of two residues (type I'), which joins the strands of a hairpin. */
const TURN = [
  [70, 29],
  [92, 30],
];
const LOOP = undefined;

const NAMES = {
  ...{ A: 'ALA', D: 'ASP', E: 'GLU', F: 'PHE', G: 'GLY', I: 'ILE', K: 'LYS', L: 'LEU', M: 'MET', N: 'ASN' },
  ...{ P: 'PRO', Q: 'GLN', R: 'ARG', S: 'SER', T: 'THR', V: 'VAL', W: 'TRP', Y: 'TYR' },
};

const repeat = (angles, times) => Array.from({ length: times }, () => angles);
const SEGMENTS = [
  { sequence: 'MS', angles: repeat(STRAND, 2) },
  { sequence: 'PEELLKKAEELLKRAEELLK', angles: repeat(HELIX, 20) },
  { sequence: 'GNPS', angles: repeat(LOOP, 4) },
  { sequence: 'DEAVRRALELALRAIELAVR', angles: repeat(HELIX, 20) },
  { sequence: 'SGDG', angles: repeat(LOOP, 4) },
  { sequence: 'RTYTVEV', angles: repeat(STRAND, 7) },
  { sequence: 'NG', angles: TURN },
  { sequence: 'KTYRFEW', angles: repeat(STRAND, 7) },
];
const SEQUENCE = SEGMENTS.map((segment) => segment.sequence).join('');

const random = randomNumbers(20);
/** Real helices and strands are not all alike. */
const near = (angles) => angles && angles.map((angle) => angle + 8 * (random() - 0.5));
const ANGLES = SEGMENTS.flatMap((segment) => segment.angles.map(near));
const LOOPS = ANGLES.flatMap((angles, index) => (angles === LOOP ? [index] : []));
const allowed = (index) => {
  const basins = [
    [-65, -40],
    [-75, 145],
    [-120, 130],
    ...(SEQUENCE[index] === 'G'
      ? [
          [60, 40],
          [85, 5],
        ]
      : []),
  ];
  const [phi, psi] = basins[Math.floor(random() * basins.length)];
  return [phi + 30 * (random() - 0.5), psi + 30 * (random() - 0.5)];
};

let best = { score: Infinity };
for (let start = 0; start < 40; start++) climb();
writeFileSync(new URL('model.pdb', import.meta.url), pdb(best.chain));
console.log(
  `radius of gyration ${compactness(best.chain).toFixed(2)} Å, collisions ${collisions(best.chain)}`,
);

function climb() {
  const angles = ANGLES.map((given, index) => given ?? allowed(index));
  let current = judge(angles);
  for (let round = 0; round < 400; round++) {
    const index = LOOPS[Math.floor(random() * LOOPS.length)];
    const kept = angles[index];
    angles[index] = allowed(index);
    const tried = judge(angles);
    if (tried.score <= current.score) current = tried;
    else angles[index] = kept;
  }
  if (current.score < best.score) best = current;
}

function judge(angles) {
  const chain = build(angles);
  return { chain, score: compactness(chain) + 10 * collisions(chain) };
}

function build(angles) {
  const residues = [];
  let [a, b, c] = [
    [0, 1.2, 0.4],
    [0.9, 0.4, 0],
    [0, 0, 0],
  ];
  for (let i = 0; i < angles.length; i++) {
    const before = angles[i - 1];
    const N = i === 0 ? [1.2, 0.3, 0.1] : placeAtom(a, b, c, BOND['C-N'], ANGLE['CA-C-N'], before[1]);
    const CA = placeAtom(b, c, N, BOND['N-CA'], ANGLE['C-N-CA'], 180);
    const C = placeAtom(c, N, CA, BOND['CA-C'], ANGLE['N-CA-C'], angles[i][0]);
    const O = placeAtom(N, CA, C, BOND['C-O'], ANGLE['CA-C-O'], angles[i][1] + 180);
    residues.push({ N, CA, C, O, CB: sideChainStart(N, CA, C) });
    [a, b, c] = [N, CA, C];
  }
  return residues;
}

/** Cβ of an L amino acid from its backbone. */
function sideChainStart(N, CA, C) {
  const [b, c] = [CA.map((x, i) => x - N[i]), C.map((x, i) => x - CA[i])];
  const a = [b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]];
  return CA.map((x, i) => x - 0.58273431 * a[i] + 0.56802827 * b[i] - 0.54067466 * c[i]);
}

function compactness(chain) {
  return gyration(chain.map(({ CA }) => ({ mass: 1, position: CA })));
}

function collisions(chain) {
  let count = 0;
  for (let i = 0; i < chain.length; i++) {
    for (let j = i + 3; j < chain.length; j++) {
      if (distance(chain[i].CA, chain[j].CA) > 12) continue;
      for (const first of Object.values(chain[i])) {
        for (const second of Object.values(chain[j])) if (distance(first, second) < 2.75) count++;
      }
    }
  }
  return count;
}

function pdb(chain) {
  const lines = [
    'HEADER    DE NOVO PROTEIN                         01-JAN-26   XXXX              ',
    'TITLE     IDEALISED MODEL OF TWO HELICES AND A BETA HAIRPIN',
    'REMARK   3 COORDINATES COMPUTED FROM IDEAL BACKBONE GEOMETRY BY BUILD-MODEL.MJS;',
    'REMARK   3 THIS PROTEIN WAS NEVER MADE OR MEASURED.',
  ];
  let serial = 1;
  chain.forEach((atoms, index) => {
    const name = NAMES[SEQUENCE[index]];
    for (const [atom, position] of Object.entries(atoms)) {
      if (atom === 'CB' && name === 'GLY') continue;
      const xyz = position.map((x) => x.toFixed(3).padStart(8)).join('');
      lines.push(
        `ATOM  ${String(serial++).padStart(5)}  ${atom.padEnd(3)} ${name} A${String(index + 1).padStart(4)}    ` +
          `${xyz}  1.00  0.00           ${atom[0]}  `,
      );
    }
  });
  const last = `TER   ${String(serial).padStart(5)}      ${NAMES[SEQUENCE.at(-1)]} A${String(chain.length).padStart(4)}`;
  return [...lines, last, 'END'].map((line) => line.padEnd(80)).join('\n') + '\n';
}
