"""What protein sequences are made of: composition, mass, isoelectric point, hydropathy.

    python3 composition.py FILE.fasta [--window 9]

Writes composition.tsv, report.txt and hydropathy.svg into the working directory. Python's own library only.
"""

import argparse
import os
import sys
from html import escape

# Average masses of the residues, in Da; a chain has one water more.
MASS = {
    "A": 71.079, "R": 156.188, "N": 114.104, "D": 115.089, "C": 103.144, "E": 129.116, "Q": 128.131,
    "G": 57.052, "H": 137.142, "I": 113.160, "L": 113.160, "K": 128.174, "M": 131.198, "F": 147.177,
    "P": 97.117, "S": 87.078, "T": 101.105, "W": 186.213, "Y": 163.176, "V": 99.133,
}
WATER = 18.015
# Kyte and Doolittle (1982).
HYDROPATHY = {
    "A": 1.8, "R": -4.5, "N": -3.5, "D": -3.5, "C": 2.5, "Q": -3.5, "E": -3.5, "G": -0.4, "H": -3.2, "I": 4.5,
    "L": 3.8, "K": -3.9, "M": 1.9, "F": 2.8, "P": -1.6, "S": -0.8, "T": -0.7, "W": -0.9, "Y": -1.3, "V": 4.2,
}
# Acid constants as EMBOSS has them.
POSITIVE = {"K": 10.8, "R": 12.5, "H": 6.5}
NEGATIVE = {"D": 3.9, "E": 4.1, "C": 8.5, "Y": 10.1}
AMINO_END, ACID_END = 8.6, 3.6

COLOURS = ["#c8553d", "#2a7f9e", "#6a994e", "#8d5a97", "#d08c2f", "#4a5a75"]


def read_fasta(path):
    """(name, sequence) of every record, in order."""
    records = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if line.startswith(">"):
                records.append((line[1:].split()[0], ""))
            elif line:
                if not records:
                    raise ValueError(f"line {number}: a sequence before the first line that starts with '>'")
                unknown = set(line.upper()) - set(MASS)
                if unknown:
                    raise ValueError(f"line {number}: no amino acid has the letter {sorted(unknown)[0]!r}")
                name, sequence = records[-1]
                records[-1] = (name, sequence + line.upper())
    if not records:
        raise ValueError("no sequence found; expected FASTA, records that start with '>'")
    return records


def molecular_mass(sequence):
    return WATER + sum(MASS[letter] for letter in sequence)


def charge(sequence, ph):
    """Net charge by the Henderson-Hasselbalch equation."""
    positive = [POSITIVE[letter] for letter in sequence if letter in POSITIVE] + [AMINO_END]
    negative = [NEGATIVE[letter] for letter in sequence if letter in NEGATIVE] + [ACID_END]
    return sum(1 / (1 + 10 ** (ph - pk)) for pk in positive) - sum(1 / (1 + 10 ** (pk - ph)) for pk in negative)


def isoelectric_point(sequence):
    """The pH without net charge, by halving."""
    low, high = 0.0, 14.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if charge(sequence, middle) > 0 else (low, middle)
    return (low + high) / 2


def hydropathy_profile(sequence, window):
    values = [HYDROPATHY[letter] for letter in sequence]
    return [sum(values[start : start + window]) / window for start in range(len(values) - window + 1)]


def describe(name, sequence):
    return {
        "name": name,
        "length": len(sequence),
        "mass": round(molecular_mass(sequence), 1),
        "pI": round(isoelectric_point(sequence), 2),
        "gravy": round(sum(HYDROPATHY[letter] for letter in sequence) / len(sequence), 3),
        **{letter: round(100 * sequence.count(letter) / len(sequence), 1) for letter in sorted(MASS)},
    }


def draw(profiles, window):
    """Hydropathy along each sequence, one line each."""
    x, y, width, height = 70, 60, 700, 320
    longest = max(len(values) for _, values in profiles)
    to_x = lambda index: x + width * index / max(1, longest - 1)
    to_y = lambda value: y + height * (4.5 - value) / 9
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 460" width="980" height="460" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#1d2433">',
        '<rect width="980" height="460" fill="#ffffff"/>',
        f'<text x="{x}" y="36" font-size="20" font-weight="bold">Hydropathy, window of {window}</text>',
    ]
    for value in (-4, -2, 0, 2, 4):
        line = "#8a93a6" if value == 0 else "#d8dde6"
        parts.append(f'<path d="M{x} {to_y(value):.1f}h{width}" stroke="{line}"/>')
        parts.append(f'<text x="{x - 10}" y="{to_y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    step = next((every for every in (5, 10, 20, 50, 100, 200, 500) if longest / every <= 14), 1000)
    for index in range(0, longest, step):
        place = index + window // 2 + 1
        parts.append(f'<path d="M{to_x(index):.1f} {y + height}v5" stroke="#1d2433"/>')
        parts.append(f'<text x="{to_x(index):.1f}" y="{y + height + 20}" text-anchor="middle">{place}</text>')
    for number, (name, values) in enumerate(profiles):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{to_x(index):.1f},{to_y(value):.1f}" for index, value in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(f'<rect x="{x + width + 24}" y="{y + 24 * number}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + width + 44}" y="{y + 11 + 24 * number}">{escape(name)}</text>')
    parts += [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="none" stroke="#1d2433"/>',
        f'<text x="{x + width / 2}" y="{y + height + 46}" text-anchor="middle">residue</text>',
        f'<text x="28" y="{y + height / 2}" text-anchor="middle" '
        f'transform="rotate(-90 28 {y + height / 2})">hydropathy (Kyte and Doolittle)</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def progress(percent, doing):
    """Labhand reads the last line of this file: a percentage and what is being done."""
    path = os.environ.get("LABHAND_PROGRESS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{percent} {doing}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("fasta")
    parser.add_argument("--window", type=int, default=9, help="residues that are averaged, default 9")
    options = parser.parse_args()
    progress(0, "reading the sequences")
    try:
        records = read_fasta(options.fasta)
    except (OSError, ValueError) as fault:
        sys.exit(f"{options.fasta}: {fault}")
    rows = []
    for number, (name, sequence) in enumerate(records):
        progress(10 + 80 * number // len(records), name)
        rows.append(describe(name, sequence))
        print(f"{name}: {len(sequence)} residues, {rows[-1]['mass']} Da, pI {rows[-1]['pI']}", flush=True)
    progress(90, "writing the results")
    with open("composition.tsv", "w", encoding="utf-8") as table:
        table.write("\t".join(rows[0]) + "\n")
        table.writelines("\t".join(str(value) for value in row.values()) + "\n" for row in rows)
    with open("report.txt", "w", encoding="utf-8") as report:
        report.write(f"{len(rows)} sequences, {sum(row['length'] for row in rows)} residues\n")
        heaviest = max(rows, key=lambda row: row["mass"])
        report.write(f"heaviest: {heaviest['name']}, {heaviest['mass']} Da\n")
    profiles = [(name, hydropathy_profile(sequence, options.window)) for name, sequence in records]
    with open("hydropathy.svg", "w", encoding="utf-8") as picture:
        picture.write(draw([profile for profile in profiles if profile[1]] or [("none", [0])], options.window))
    progress(100, "done")
    print("wrote composition.tsv, report.txt and hydropathy.svg", flush=True)


if __name__ == "__main__":
    main()
