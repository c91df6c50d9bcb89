/** What a figure has to keep to: a bound, in its own unit or as a share of another figure of the same round. */
export interface Bound {
  readonly atLeast?: number;
  readonly atMost?: number;
  /** The figure that this one is divided by before it is compared. */
  readonly of?: string;
}

/** One thing as it was measured in one round. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly bound?: Bound;
}

/** One thing over all rounds. */
export interface Summary {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly least: number;
  readonly most: number;
  /** Rounds that it was measured in. */
  readonly rounds: number;
  readonly bound?: Bound;
  /** The median of the rounds' shares of `bound.of`. */
  readonly ratio?: number;
  /** Whether the bound is kept to; undefined when there is none, or nothing to compare with was measured. */
  readonly kept?: boolean;
}

/**
 * The medians of several rounds, in the order in which figures first appeared. A ratio is taken within each round:
 * what slows the whole machine for a while then slows both of its sides.
 */
export function summarize(rounds: readonly (readonly Figure[])[]): Summary[] {
  const names = [...new Set(rounds.flatMap((round) => round.map(({ name }) => name)))];
  return names.map((name) => summaryOf(name, rounds));
}

function summaryOf(name: string, rounds: readonly (readonly Figure[])[]): Summary {
  const measured = rounds.flatMap((round) => {
    const figure = round.find((it) => it.name === name);
    return figure ? [{ figure, other: round.find((it) => it.name === figure.bound?.of) }] : [];
  });
  const values = measured.map(({ figure }) => figure.value);
  const { unit, bound } = measured[0]!.figure;
  const ratios = measured.flatMap(({ figure, other }) => (other ? [figure.value / other.value] : []));
  const ratio = ratios.length > 0 ? median(ratios) : undefined;
  const compared = bound?.of ? ratio : median(values);
  return {
    name,
    unit,
    median: median(values),
    least: Math.min(...values),
    most: Math.max(...values),
    rounds: values.length,
    bound,
    ratio,
    kept: bound === undefined || compared === undefined ? undefined : keeps(compared, bound),
  };
}

function keeps(value: number, { atLeast = -Infinity, atMost = Infinity }: Bound): boolean {
  return value >= atLeast && value <= atMost;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** By linear interpolation; `share` of 0.99 is the 99th percentile. @throws {Error} there are no values */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = [...values].sort((one, other) => one - other);
  const at = (sorted.length - 1) * share;
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return below + (above - below) * (at - Math.floor(at));
}
