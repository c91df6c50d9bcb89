import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Secrets } from '../database/secrets.js';

const SECRET = 'attempt-tokens';

/** What opens the files of one attempt; nothing is kept of it, the secret tells it again. */
export function attemptToken(secret: string, jobId: string, attempt: number): string {
  return createHmac('sha256', secret).update(`${jobId}.${attempt}`).digest('base64url');
}

/** Whether `token` is the attempt's own; takes as long for a near miss as for a wild guess. */
export function checkAttemptToken(secret: string, token: string, jobId: string, attempt: number): boolean {
  const expected = Buffer.from(attemptToken(secret, jobId, attempt));
  const given = Buffer.from(token);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** Issues and checks attempt tokens with the secret that all gateways share. */
@Injectable()
export class AttemptTokens {
  constructor(private readonly secrets: Secrets) {}

  async issue(jobId: string, attempt: number): Promise<string> {
    return attemptToken(await this.secret(), jobId, attempt);
  }

  async check(token: string, jobId: string, attempt: number): Promise<boolean> {
    return checkAttemptToken(await this.secret(), token, jobId, attempt);
  }

  private secret(): Promise<string> {
    return this.secrets.get(SECRET, () => randomBytes(32).toString('base64url'));
  }
}
