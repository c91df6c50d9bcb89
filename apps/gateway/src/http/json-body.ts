import { Problem } from './problem.js';

/**
 * A JSON body; an empty one counts as `{}`, because clients send the type with every POST.
 * @throws {Problem} 400 `invalid_json`, with line and column of the fault
 */
export function parseJson(body: string | Buffer): unknown {
  const text = decode(body);
  if (text.trim() === '') return {};
  try {
    // A reviver makes parsing several times slower, so it looks only where a key may be __proto__, escaped or not.
    return JSON.parse(text, /"(?:_|\\u)/.test(text) ? refusePrototype : undefined);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(400, 'invalid_json', `The body is not valid JSON: ${reason(error as Error, text)}.`);
  }
}

function decode(body: string | Buffer): string {
  if (typeof body === 'string') return body;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw new Problem(400, 'invalid_json', 'The body is not valid JSON: it is not encoded in UTF-8.');
  }
}

/** `__proto__` as a key is never meant well: copied onto another object it would replace its prototype. */
function refusePrototype(key: string, value: unknown): unknown {
  if (key !== '__proto__') return value;
  throw new Problem(400, 'invalid_json', 'The body has a field "__proto__"; it is not taken.');
}

/** What Node says, without its quotation of the body and with a place that an editor shows. */
function reason({ message }: Error, text: string): string {
  const fault = message
    .replace(/(, ("|\.\.\.)| in JSON at position ).*$/s, '')
    .replace(/ at position \d+.*$/s, '');
  const position = Number(/at position (\d+)/.exec(message)?.[1] ?? tokenPosition(text));
  const before = text.slice(0, position).split('\n');
  return `${fault} at line ${before.length}, column ${before.at(-1)!.length + 1}`;
}

/** Node tells no position of an unexpected token: it stands at the end of the shortest text that has the fault. */
function tokenPosition(text: string): number {
  let [good, bad] = [0, text.length];
  if (bad > LARGE || !hasBadToken(text)) return bad;
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    if (hasBadToken(text.slice(0, middle))) bad = middle;
    else good = middle;
  }
  return good;
}

/** A body that is parsed a few times more for the sake of a message. */
const LARGE = 65_536;

function hasBadToken(text: string): boolean {
  try {
    JSON.parse(text);
    return false;
  } catch (error) {
    return (error as Error).message.startsWith('Unexpected token');
  }
}
