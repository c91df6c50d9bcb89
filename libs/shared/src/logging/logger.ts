import type { LoggerService } from '@nestjs/common';
import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { LogFile } from './log-file.js';
import { redact } from './redact.js';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  /** The program: `gateway`, `worker`. */
  readonly name: string;
  readonly level?: LogLevel;
  /** Where lines go: a file of this path, which only its owner may read, or a stream; by default standard output. */
  readonly destination?: string | DestinationStream;
}

/** One JSON object a line, with ISO times and without secrets. */
export function createLogger(options: LoggerOptions): PinoLogger {
  const { destination = 1 } = options;
  return new PinoLogger(
    pino(
      {
        name: options.name,
        level: options.level ?? 'info',
        base: {},
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        // On the finished line: a secret may hide in any message, stack or field.
        hooks: { streamWrite: redact },
      },
      typeof destination === 'object' ? destination : new LogFile(destination),
    ),
  );
}

/** Contexts in which Nest tells at start every module and route that it has. */
const NEST_CHATTER = new Set<unknown>(['NestFactory', 'InstanceLoader', 'RoutesResolver', 'RouterExplorer']);

type Level = Exclude<LogLevel, 'silent'>;

/**
 * What Nest and our own `new Logger('Context')` write to. After the message come plain objects, whose fields go
 * into the line, errors or stacks, and last the context.
 */
export class PinoLogger implements LoggerService {
  constructor(readonly pino: Logger) {}

  verbose(message: unknown, ...rest: unknown[]): void {
    this.write('trace', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.write('debug', message, rest);
  }

  log(message: unknown, ...rest: unknown[]): void {
    this.write('info', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.write('warn', message, rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.write('error', message, rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.write('fatal', message, rest);
  }

  private write(asked: Level, message: unknown, rest: readonly unknown[]): void {
    const level = asked === 'info' && NEST_CHATTER.has(rest.at(-1)) ? 'debug' : asked;
    if (!this.pino.isLevelEnabled(level)) return;
    const { fields, texts } = sort([message, ...rest]);
    this.pino[level](fields, texts.join(' '));
  }
}

function sort(parts: readonly unknown[]): { fields: Record<string, unknown>; texts: string[] } {
  const fields: Record<string, unknown> = {};
  const texts: string[] = [];
  parts.forEach((part, index) => {
    if (part == null) return;
    if (part instanceof Error) {
      fields['err'] = part;
      if (index === 0) texts.push(part.message);
    } else if (typeof part === 'object' && !Array.isArray(part)) {
      Object.assign(fields, part);
    } else if (index === 0 || typeof part !== 'string') {
      texts.push(typeof part === 'string' ? part : JSON.stringify(part));
    } else if (/\n\s+at /.test(part)) {
      fields['stack'] = part;
    } else if (index === parts.length - 1) {
      fields['context'] = part;
    } else {
      texts.push(part);
    }
  });
  return { fields, texts };
}
