import { z } from 'zod';
import { MESSAGES, PROTOCOL_VERSION, type MessageBody, type MessageType } from '../messages/messages.js';
import type { OutgoingMessage, RawMessage } from './broker.js';

/** How bodies and answers are written as bytes: JSON, with the protocol's version in a header. */

const VERSION_HEADER = 'labhand-version';
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

/** @throws {Error} it is none of ours; the message says why and repeats nothing of the body */
export function decodeMessage({ type, headers, content }: RawMessage): unknown {
  const version = headers[VERSION_HEADER];
  if (version !== PROTOCOL_VERSION) {
    throw new Error(`its protocol version is ${printable(version)}, expected ${PROTOCOL_VERSION}`);
  }
  if (!Object.hasOwn(MESSAGES, type)) throw new Error('there is no message of this type');
  const parsed = MESSAGES[type as MessageType].safeParse(parseJson(content));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, code }) => `${path.join('.') || 'body'} (${code})`);
  throw new Error(`its body has another shape: ${problems.slice(0, 5).join(', ')}`);
}

export function encodeAnswer(answer: Answer): Buffer {
  return Buffer.from(JSON.stringify(answer));
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
