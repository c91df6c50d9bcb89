// Which residues of a protein touch, how compact it is, and its secondary structure.
//
//   node contacts.mjs FILE.pdb [--cutoff 8] [--separation 3] [--chains 10000]
//
// Writes contacts.tsv, residues.tsv, report.txt and contact-map.svg into the working directory.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { drawContactMap } from './picture.mjs';
import {
  backboneAngles,
  contacts,
  distance,
  distanceMatrix,
  gyration,
  parsePdb,
  placeAtom,
  radiusOfGyration,
  randomNumbers,
  relativeContactOrder,
  secondaryStructure,
} from './protein.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cutoff: { type: 'string', default: '8' },
    separation: { type: 'string', default: '3' },
    chains: { type: 'string', default: '10000' },
  },
});
const [file] = positionals;
if (file === undefined) {
  console.error('usage: node contacts.mjs FILE.pdb [--cutoff Å] [--separation RESIDUES] [--chains N]');
  process.exit(2);
}

progress(0, 'reading the structure');
const residues = parsePdb(readFileSync(file, 'utf8'));
log(`${file}: ${residues.length} residues`);

progress(5, 'measuring the backbone');
const angles = backboneAngles(residues);
const structure = secondaryStructure(angles);
log(`secondary structure ${structure}`);

progress(10, 'finding contacts');
const matrix = distanceMatrix(residues);
const pairs = contacts(matrix, { cutoff: Number(values.cutoff), separation: Number(values.separation) });
log(`${pairs.length} contacts within ${values.cutoff} Å`);

const compactness = compareWithRandomChains(residues, Number(values.chains));
log(`${(100 * compactness.share).toFixed(2)} % of random chains are as compact`);

progress(95, 'writing the results');
const summary = summarise();
writeFileSync('contacts.tsv', contactTable());
writeFileSync('residues.tsv', residueTable());
writeFileSync('report.txt', summary.map(([name, value]) => `${name.padEnd(44)}${value}\n`).join(''));
writeFileSync(
  'contact-map.svg',
  drawContactMap({
    file,
    residues,
    angles,
    structure,
    matrix,
    pairs,
    cutoff: Number(values.cutoff),
    summary,
  }),
);
progress(100, 'done');
log('wrote contacts.tsv, residues.tsv, report.txt and contact-map.svg');

/**
 * How many self-avoiding random chains of as many Cα atoms are at least as compact: what folding adds to mere
 * chance. Virtual bonds of 3.8 Å, bond angles of 85 to 145 degrees, no two atoms nearer than 4 Å.
 */
function compareWithRandomChains(chain, count) {
  const own = gyration(chain.map(({ atoms }) => ({ mass: 1, position: atoms.CA })));
  const random = randomNumbers(1);
  let [asCompact, sum] = [0, 0];
  for (let made = 0; made < count; made++) {
    if (made % Math.ceil(count / 16) === 0) {
      progress(15 + Math.round((80 * made) / count), `random chain ${made} of ${count}`);
    }
    const radius = gyration(randomChain(chain.length, random).map((position) => ({ mass: 1, position })));
    sum += radius;
    if (radius <= own) asCompact++;
  }
  return { own, mean: sum / count, share: asCompact / count };
}

function randomChain(length, random) {
  const start = [
    [0, 0, 0],
    [3.8, 0, 0],
    [5.2, 3.53, 0],
  ];
  for (;;) {
    const chain = start.slice(0, length);
    while (chain.length < length && grow(chain, random));
    if (chain.length === length) return chain;
  }
}

/** False when the chain has run into itself and no way out was found. */
function grow(chain, random) {
  for (let attempt = 0; attempt < 20; attempt++) {
    const next = placeAtom(...chain.slice(-3), 3.8, 85 + 60 * random(), 360 * random() - 180);
    if (chain.every((atom, index) => index === chain.length - 1 || distance(atom, next) >= 4)) {
      return chain.push(next);
    }
  }
  return false;
}

function summarise() {
  const share = (letter) => `${Math.round((100 * structure.split(letter).length - 100) / residues.length)} %`;
  const range = (from, to) => pairs.filter(({ i, j }) => j - i >= from && j - i <= to).length;
  const ends = distance(residues[0].atoms.CA, residues.at(-1).atoms.CA);
  return [
    ['residues', `${residues.length}`],
    ['helix, strand', `${share('H')}, ${share('E')}`],
    [`contacts (Cβ, ${values.cutoff} Å, ${values.separation} or more apart)`, `${pairs.length}`],
    ['  up to 5, 6 to 11, 12 or more apart', `${range(1, 5)}, ${range(6, 11)}, ${range(12, Infinity)}`],
    ['relative contact order', relativeContactOrder(pairs, residues.length).toFixed(3)],
    ['radius of gyration', `${radiusOfGyration(residues).toFixed(2)} Å`],
    ['  of the Cα atoms', `${compactness.own.toFixed(2)} Å`],
    ['  of random chains, mean', `${compactness.mean.toFixed(2)} Å`],
    ['random chains as compact', `${(100 * compactness.share).toFixed(2)} %`],
    ['end to end', `${ends.toFixed(2)} Å`],
  ];
}

function contactTable() {
  const rows = pairs.map(({ i, j, distance: apart }) => [label(i), label(j), j - i, apart.toFixed(2)]);
  return table(['first', 'second', 'separation', 'distance'], rows);
}

function residueTable() {
  const degrees = (angle) => (angle === undefined ? '' : angle.toFixed(1));
  const touching = residues.map((_, k) => pairs.filter(({ i, j }) => i === k || j === k).length);
  const rows = angles.map(({ phi, psi }, i) => [
    label(i),
    structure[i],
    degrees(phi),
    degrees(psi),
    touching[i],
  ]);
  return table(['residue', 'structure', 'phi', 'psi', 'contacts'], rows);
}

function label(index) {
  const { chain, name, number } = residues[index];
  return `${chain.trim()}:${name}${number}`;
}

function table(head, rows) {
  return [head, ...rows].map((row) => `${row.join('\t')}\n`).join('');
}

function log(line) {
  console.log(`${new Date().toISOString()} ${line}`);
}

/** Labhand reads the last line of this file: a percentage and what is being done. */
function progress(percent, doing) {
  if (process.env.LABHAND_PROGRESS) appendFileSync(process.env.LABHAND_PROGRESS, `${percent} ${doing}\n`);
}
