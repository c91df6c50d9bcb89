import { Injectable } from '@nestjs/common';
import { Secrets } from '../database/secrets.js';
import { newSigningSecret } from './signature.js';

const NAME = 'callback_signing';

/** The server's own secrets, which sign the callbacks of jobs that bring none. */
@Injectable()
export class SigningSecrets {
  constructor(private readonly secrets: Secrets) {}

  /** Newest first; two while the newest replaces the one before. */
  async current(): Promise<string[]> {
    return (await this.secrets.getFresh(NAME, newSigningSecret)).split(' ');
  }

  /** Puts a new secret in front; the one before goes on signing beside it until the next rotation. */
  async rotate(): Promise<string[]> {
    await this.current();
    const value = await this.secrets.replace(NAME, (old) => `${newSigningSecret()} ${old.split(' ')[0]}`);
    return value.split(' ');
  }
}
