// The contact map as SVG: contacts below the diagonal, distances above it, a Ramachandran plot and the numbers.

const INK = '#1d2433';
const FAINT = '#8a93a6';
const LINE = '#d8dde6';
const COLOUR = { H: '#c8553d', E: '#2a7f9e', '-': '#b4bac6' };
const NAME = { H: 'helix', E: 'strand', '-': 'other' };
const MAP = { x: 84, y: 96, size: 528 };
const STRIP = 10;
const RAMA = { x: 712, y: 96, size: 250 };

export function drawContactMap(protein) {
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 720" width="1000" height="720"
  font-family="Helvetica, Arial, 'Liberation Sans', sans-serif" font-size="13" fill="${INK}">
<title>Contact map of ${escape(protein.file)}</title>
<rect width="1000" height="720" fill="#ffffff"/>
<text x="${MAP.x}" y="44" font-size="22" font-weight="bold">Contact map</text>
<text x="${MAP.x}" y="66" fill="${FAINT}">${escape(protein.file)}, ${protein.residues.length} residues</text>
${map(protein)}
${strips(protein.structure)}
${axes(protein)}
${ramachandran(protein)}
${legend()}
${numbers(protein.summary)}
</svg>
`;
}

function map({ matrix, pairs, cutoff }) {
  const cell = MAP.size / matrix.length;
  const square = (column, row, colour) =>
    `<rect x="${r(MAP.x + column * cell)}" y="${r(MAP.y + row * cell)}" width="${r(cell + 0.3)}" ` +
    `height="${r(cell + 0.3)}" fill="${colour}"/>`;
  const above = matrix.flatMap((row, i) =>
    row.flatMap((distance, j) => (j > i ? [square(j, i, shade(distance))] : [])),
  );
  const below = pairs.map(({ i, j, distance }) => square(i, j, contactColour(distance / cutoff)));
  return `<g shape-rendering="crispEdges">
<rect x="${MAP.x}" y="${MAP.y}" width="${MAP.size}" height="${MAP.size}" fill="#f7f8fa"/>
${[...above, ...below].join('\n')}
</g>
<path d="M${MAP.x} ${MAP.y}l${MAP.size} ${MAP.size}" stroke="${FAINT}" stroke-width="1"/>
<rect x="${MAP.x}" y="${MAP.y}" width="${MAP.size}" height="${MAP.size}" fill="none" stroke="${INK}"/>`;
}

/** Dark near, white from 30 Å on. */
function shade(distance) {
  const part = Math.min(1, Math.max(0, (distance - 4) / 26));
  return blend([32, 63, 112], [247, 248, 250], Math.sqrt(part));
}

function contactColour(part) {
  return blend([122, 28, 38], [236, 148, 92], Math.min(1, Math.max(0, (part - 0.45) / 0.55)));
}

function blend(from, to, part) {
  const mix = from.map((value, channel) => Math.round(value + (to[channel] - value) * part));
  return `#${mix.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
}

/** Secondary structure beside the map, on its top and its right. */
function strips(structure) {
  const cell = MAP.size / structure.length;
  return [...structure.matchAll(/H+|E+|-+/g)]
    .map(({ 0: run, index }) => {
      const [start, length, colour] = [index * cell, run.length * cell, COLOUR[run[0]]];
      return (
        `<rect x="${r(MAP.x + start)}" y="${MAP.y - STRIP - 4}" width="${r(length)}" height="${STRIP}" fill="${colour}"/>` +
        `<rect x="${MAP.x + MAP.size + 4}" y="${r(MAP.y + start)}" width="${STRIP}" height="${r(length)}" fill="${colour}"/>`
      );
    })
    .join('\n');
}

function axes({ residues, cutoff }) {
  const cell = MAP.size / residues.length;
  const step = [5, 10, 20, 50, 100, 200, 500].find((every) => residues.length / every <= 14) ?? 1000;
  const bottom = MAP.y + MAP.size;
  const ticks = residues.flatMap(({ number }, index) => {
    if (number % step !== 0) return [];
    const at = (index + 0.5) * cell;
    return [
      `<path d="M${r(MAP.x + at)} ${bottom}v5M${MAP.x} ${r(MAP.y + at)}h-5" stroke="${INK}"/>`,
      `<text x="${r(MAP.x + at)}" y="${bottom + 20}" text-anchor="middle">${number}</text>`,
      `<text x="${MAP.x - 10}" y="${r(MAP.y + at + 4.5)}" text-anchor="end">${number}</text>`,
    ];
  });
  const middle = MAP.y + MAP.size / 2;
  return `${ticks.join('\n')}
<text x="${MAP.x + MAP.size / 2}" y="${bottom + 44}" text-anchor="middle">residue</text>
<text x="34" y="${middle}" text-anchor="middle" transform="rotate(-90 34 ${middle})">residue</text>
${scale(MAP.x, bottom + 62, `contacts: Cβ below ${cutoff} Å`, (part) => contactColour(0.45 + 0.55 * part))}
${scale(MAP.x + 284, bottom + 62, 'distance: 4 to 30 Å', (part) => shade(4 + 26 * part))}`;
}

function scale(x, y, title, colour) {
  const steps = Array.from({ length: 24 }, (_, index) => index);
  const squares = steps.map(
    (step) => `<rect x="${x + step * 4}" y="${y}" width="4.3" height="10" fill="${colour(step / 23)}"/>`,
  );
  return `${squares.join('')}<text x="${x + 106}" y="${y + 10}" font-size="12">${escape(title)}</text>`;
}

function ramachandran({ angles, structure }) {
  const at = (phi, psi) => [
    r(RAMA.x + ((phi + 180) / 360) * RAMA.size),
    r(RAMA.y + ((180 - psi) / 360) * RAMA.size),
  ];
  const points = angles.flatMap(({ phi, psi }, index) => {
    if (phi === undefined || psi === undefined) return [];
    const [x, y] = at(phi, psi);
    return [
      `<circle cx="${x}" cy="${y}" r="4" fill="${COLOUR[structure[index]]}" fill-opacity="0.75" stroke="#ffffff"/>`,
    ];
  });
  const ticks = [-180, -90, 0, 90, 180].map((angle) => {
    const [x, y] = at(angle, angle);
    const bottom = RAMA.y + RAMA.size;
    return (
      `<path d="M${x} ${RAMA.y}V${bottom}M${RAMA.x} ${y}h${RAMA.size}" stroke="${LINE}"/>` +
      `<text x="${x}" y="${bottom + 18}" text-anchor="middle" font-size="12">${angle}</text>` +
      `<text x="${RAMA.x - 8}" y="${y + 4}" text-anchor="end" font-size="12">${angle}</text>`
    );
  });
  const middle = RAMA.y + RAMA.size / 2;
  return `<text x="${RAMA.x}" y="66" font-size="15" font-weight="bold">Ramachandran plot</text>
${ticks.join('\n')}
<rect x="${RAMA.x}" y="${RAMA.y}" width="${RAMA.size}" height="${RAMA.size}" fill="none" stroke="${INK}"/>
${points.join('\n')}
<text x="${RAMA.x + RAMA.size / 2}" y="${RAMA.y + RAMA.size + 38}" text-anchor="middle">φ (degrees)</text>
<text x="${RAMA.x - 46}" y="${middle}" text-anchor="middle"
  transform="rotate(-90 ${RAMA.x - 46} ${middle})">ψ (degrees)</text>`;
}

function legend() {
  const y = RAMA.y + RAMA.size + 66;
  return Object.keys(COLOUR)
    .map((kind, index) => {
      const x = RAMA.x + index * 86;
      return (
        `<rect x="${x}" y="${y - 10}" width="12" height="12" fill="${COLOUR[kind]}"/>` +
        `<text x="${x + 18}" y="${y}">${NAME[kind]}</text>`
      );
    })
    .join('\n');
}

function numbers(summary) {
  const top = RAMA.y + RAMA.size + 104;
  return summary
    .map(([name, value], index) => {
      const y = top + index * 22;
      const indent = name.startsWith(' ') ? 12 : 0;
      return (
        `<text x="${666 + indent}" y="${y}" font-size="12" fill="${FAINT}">${escape(name.trim())}</text>` +
        `<text x="${RAMA.x + RAMA.size}" y="${y}" font-size="12" text-anchor="end">${escape(value)}</text>`
      );
    })
    .join('\n');
}

function r(value) {
  return Math.round(value * 100) / 100;
}

function escape(text) {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
