/** Sizes are bytes and durations seconds everywhere; people may write `4Gi` and `2h`. */

const SIZE_FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

const DURATION_FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

/** `4Gi`, `500M`, `1024` → bytes; undefined when it is no size. */
export function parseBytes(text: string): number | undefined {
  const bytes = scale(text, SIZE_FACTORS, /^(\d+(?:\.\d+)?)\s*([kMGT]i?|Ki)?B?$/);
  return bytes === undefined ? undefined : Math.round(bytes);
}

/** `90s`, `2h`, `1.5d`, `250ms`, `30` → seconds; undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  return scale(text, DURATION_FACTORS, /^(\d+(?:\.\d+)?)\s*(ms|[smhdw])?$/);
}

function scale(text: string, factors: Readonly<Record<string, number>>, form: RegExp): number | undefined {
  const match = form.exec(text.trim());
  if (!match) return undefined;
  const factor = factors[match[2] ?? ''];
  return factor === undefined ? undefined : Number(match[1]) * factor;
}
