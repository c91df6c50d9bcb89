import { z } from 'zod';
import { MESSAGES, PROTOCOL_VERSION, type MessageBody, type MessageType } from '../messages/messages.js';
import type { OutgoingMessage, RawMessage } from './broker.js';

/** How bodies and answers are written as bytes: JSON, with the protocol's version in a header. */

const VERSION_HEADER = 'labhand-version';
/** How many bodies the content holds, as a JSON array; without it the content is one body. */
const BUNDLE_HEADER = 'labhand-bundle';
export const TRACEPARENT_HEADER = 'traceparent';

/** What answers a request: the result, or why there is none. */
export type Answer = { response: unknown } | { error: string; code?: string };

const answerShape = z.union([
  z.object({ error: z.string(), code: z.string().optional() }),
  z.object({ response: z.unknown() }),
]);

export function encodeMessage<T extends MessageType>(
  type: T,
  body: MessageBody<T>,
  traceparent?: string,
): OutgoingMessage {
  const headers: Record<string, string | number> = { [VERSION_HEADER]: PROTOCOL_VERSION };
  if (traceparent) headers[TRACEPARENT_HEADER] = traceparent;
  return { type, content: Buffer.from(JSON.stringify(body)), headers };
}

/** Several requests of one type, to be answered together. */
export function encodeBundle<T extends MessageType>(
  type: T,
  bodies: readonly MessageBody<T>[],
): OutgoingMessage {
  const headers = { [VERSION_HEADER]: PROTOCOL_VERSION, [BUNDLE_HEADER]: bodies.length };
  return { type, content: Buffer.from(JSON.stringify(bodies)), headers };
}

export function isBundle({ headers }: RawMessage): boolean {
  return headers[BUNDLE_HEADER] !== undefined;
}

/** @throws {Error} it is none of ours; the message says why and repeats nothing of the body */
export function decodeMessage(message: RawMessage): unknown {
  return checkBody(checkHead(message), parseJson(message.content));
}

/**
 * The bodies of a bundle, each to be checked by `checkBody`.
 * @throws {Error} it is none of ours
 */
export function decodeBundle(message: RawMessage): { type: MessageType; bodies: unknown[] } {
  const type = checkHead(message);
  const bodies = parseJson(message.content);
  if (!Array.isArray(bodies) || bodies.length !== message.headers[BUNDLE_HEADER]) {
    throw new Error('it is a bundle and holds another number of bodies than it says');
  }
  return { type, bodies };
}

function checkHead({ type, headers }: RawMessage): MessageType {
  const version = headers[VERSION_HEADER];
  if (version !== PROTOCOL_VERSION) {
    throw new Error(`its protocol version is ${printable(version)}, expected ${PROTOCOL_VERSION}`);
  }
  if (!Object.hasOwn(MESSAGES, type)) throw new Error('there is no message of this type');
  return type as MessageType;
}

/** @throws {Error} the body is not of this type */
export function checkBody(type: MessageType, body: unknown): unknown {
  const parsed = MESSAGES[type].safeParse(body);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, code }) => `${path.join('.') || 'body'} (${code})`);
  throw new Error(`its body has another shape: ${problems.slice(0, 5).join(', ')}`);
}

export function encodeAnswer(answer: Answer): Buffer {
  return Buffer.from(JSON.stringify(answer));
}

/** All that answers a bundle, in its order. */
export function encodeAnswers(answers: readonly Answer[]): Buffer {
  return Buffer.from(JSON.stringify(answers));
}

/** @throws {Error} it is no answer; a bundle that was refused as a whole has the one answer for all */
export function decodeAnswers(content: Buffer): Answer[] {
  const parsed = z.array(answerShape).safeParse(parseJson(content));
  if (parsed.success) return parsed.data;
  const { error } = decodeAnswer(content) as { error?: string };
  throw new Error(error ?? 'the answer to a bundle is no list');
}

/** @throws {Error} it is no answer */
export function decodeAnswer(content: Buffer): Answer {
  const parsed = answerShape.safeParse(parseJson(content));
  if (!parsed.success) throw new Error('the answer has neither response nor error');
  return parsed.data;
}

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString());
  } catch {
    throw new Error('its body is not JSON');
  }
}

function printable(value: unknown): string {
  return typeof value === 'number' || typeof value === 'string' ? String(value).slice(0, 20) : 'not given';
}
