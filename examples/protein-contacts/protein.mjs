// Proteins as far as a contact map needs them: PDB format, backbone geometry, secondary structure by a plain rule.
// Lengths in Å, angles in degrees.

const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

const MASS = { C: 12.011, N: 14.007, O: 15.999, S: 32.06 };

/**
 * The residues of the first model, in file order: `{ name, number, chain, atoms: { CA: [x, y, z], … } }`.
 * Columns as in the wwPDB format description, version 3.3, section 9.
 */
export function parsePdb(text) {
  const residues = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('ENDMDL')) break;
    if (!line.startsWith('ATOM  ')) continue;
    const alternative = line[16];
    if (alternative !== ' ' && alternative !== 'A') continue;
    const [name, chain, number] = [line.slice(17, 20).trim(), line[21], Number(line.slice(22, 26))];
    let residue = residues.at(-1);
    if (residue?.number !== number || residue.chain !== chain) {
      residue = { name, number, chain, atoms: {} };
      residues.push(residue);
    }
    residue.atoms[line.slice(12, 16).trim()] = [30, 38, 46].map((at) => Number(line.slice(at, at + 8)));
  }
  const complete = residues.filter(({ atoms }) => atoms.N && atoms.CA && atoms.C);
  if (complete.length === 0) throw new Error('the file has no residue with the backbone atoms N, CA and C');
  return complete;
}

/** Of four points, looking along the middle two: -180 to 180. */
export function dihedral(a, b, c, d) {
  const axis = subtract(c, b);
  const first = cross(subtract(b, a), axis);
  const second = cross(axis, subtract(d, c));
  const y = dot(cross(first, second), axis) / Math.hypot(...axis);
  return (Math.atan2(y, dot(first, second)) * 180) / Math.PI;
}

/** Phi and psi of every residue; undefined at the ends of a chain and beside a gap. */
export function backboneAngles(residues) {
  return residues.map((residue, i) => {
    const before = bonded(residues[i - 1], residue) ? residues[i - 1].atoms : undefined;
    const after = bonded(residue, residues[i + 1]) ? residues[i + 1].atoms : undefined;
    const { N, CA, C } = residue.atoms;
    return {
      phi: before && dihedral(before.C, N, CA, C),
      psi: after && dihedral(N, CA, C, after.N),
    };
  });
}

function bonded(residue, next) {
  return residue !== undefined && next !== undefined && distance(residue.atoms.C, next.atoms.N) < 2;
}

/** `H` for runs of at least four helical residues, `E` for at least three extended ones, `-` for the rest. */
export function secondaryStructure(angles) {
  const kind = ({ phi, psi }) => {
    if (phi === undefined || psi === undefined) return '-';
    if (phi > -100 && phi < -30 && psi > -80 && psi < -5) return 'H';
    if (phi > -180 && phi < -60 && (psi > 60 || psi < -150)) return 'E';
    return '-';
  };
  const shortest = { H: 4, E: 3, '-': 1 };
  return angles
    .map(kind)
    .join('')
    .replace(/H+|E+/g, (run) => (run.length < shortest[run[0]] ? '-'.repeat(run.length) : run));
}

/** Where a side chain begins to show: Cβ, or Cα for glycine. */
export const sidePoint = ({ atoms }) => atoms.CB ?? atoms.CA;

export function distanceMatrix(residues) {
  const points = residues.map(sidePoint);
  return points.map((a) => points.map((b) => distance(a, b)));
}

/** Pairs nearer than `cutoff` and at least `separation` apart in the chain: `{ i, j, distance }`, i < j. */
export function contacts(matrix, { cutoff, separation }) {
  const pairs = [];
  for (let i = 0; i < matrix.length; i++) {
    for (let j = i + separation; j < matrix.length; j++) {
      if (matrix[i][j] < cutoff) pairs.push({ i, j, distance: matrix[i][j] });
    }
  }
  return pairs;
}

/** How far apart in the chain the residues in contact are on average, as a share of the chain. */
export function relativeContactOrder(pairs, length) {
  const total = pairs.reduce((sum, { i, j }) => sum + (j - i), 0);
  return pairs.length === 0 ? 0 : total / (pairs.length * length);
}

/** Weighted by atomic mass, hydrogens left out. */
export function radiusOfGyration(residues) {
  const atoms = residues.flatMap((residue) =>
    Object.entries(residue.atoms)
      .filter(([name]) => MASS[name[0]] !== undefined)
      .map(([name, position]) => ({ mass: MASS[name[0]], position })),
  );
  return gyration(atoms);
}

export function gyration(atoms) {
  const mass = atoms.reduce((sum, atom) => sum + atom.mass, 0);
  const centre = [0, 1, 2].map(
    (axis) => atoms.reduce((sum, { mass: m, position }) => sum + m * position[axis], 0) / mass,
  );
  const square = atoms.reduce((sum, { mass: m, position }) => sum + m * distance(position, centre) ** 2, 0);
  return Math.sqrt(square / mass);
}

/** The fourth point of a chain from the three before it, a bond length and two angles (the NeRF construction). */
export function placeAtom(a, b, c, length, bondAngle, torsion) {
  const unit = (v) => v.map((x) => x / Math.hypot(...v));
  const [theta, chi] = [(bondAngle * Math.PI) / 180, (torsion * Math.PI) / 180];
  const along = unit(subtract(c, b));
  const normal = unit(cross(subtract(b, a), along));
  const side = cross(normal, along);
  const local = [-Math.cos(theta), Math.sin(theta) * Math.cos(chi), Math.sin(theta) * Math.sin(chi)];
  return [0, 1, 2].map(
    (axis) => c[axis] + length * (local[0] * along[axis] + local[1] * side[axis] + local[2] * normal[axis]),
  );
}

/** Uniform numbers in [0, 1), the same ones for the same seed (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
