import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { newSigningSecret, signatureHeaders } from './signature.js';

const message = {
  id: 'evt_1',
  sentAt: new Date(),
  body: '{"type":"job.succeeded","data":{"name":"naïve ☂"}}',
};
const secretOf = (bytes: number) => `whsec_${randomBytes(bytes).toString('base64')}`;

describe('the signature of a callback', () => {
  it.each([newSigningSecret(), secretOf(24), secretOf(25), secretOf(64)])(
    'is what an independent receiver expects (%#)',
    (secret) => {
      const headers = signatureHeaders(message, [secret]);
      expect(new Webhook(secret).verify(message.body, headers)).toEqual(JSON.parse(message.body));
    },
  );

  it('fails for another body, id, time or secret', () => {
    const secret = newSigningSecret();
    const headers = signatureHeaders(message, [secret]);
    const receiver = new Webhook(secret);
    expect(() => receiver.verify(`${message.body} `, headers)).toThrow('No matching signature');
    expect(() => receiver.verify(message.body, { ...headers, 'webhook-id': 'evt_2' })).toThrow('No matching');
    const later = String(Number(headers['webhook-timestamp']) + 1);
    expect(() => receiver.verify(message.body, { ...headers, 'webhook-timestamp': later })).toThrow(
      'No matching',
    );
    expect(() => new Webhook(newSigningSecret()).verify(message.body, headers)).toThrow('No matching');
  });

  it('satisfies receivers with the new and with the old secret while one replaces the other', () => {
    const [fresh, old] = [newSigningSecret(), newSigningSecret()];
    const headers = signatureHeaders(message, [fresh, old]);
    for (const secret of [fresh, old])
      expect(new Webhook(secret).verify(message.body, headers)).toBeDefined();
  });

  it.each([secretOf(23), secretOf(65), randomBytes(32).toString('base64'), ''])(
    'is refused with a secret of the wrong form, which is not repeated (%#)',
    (secret) => {
      let said = '';
      try {
        signatureHeaders(message, [secret]);
      } catch (error) {
        said = (error as Error).message;
      }
      expect(said).toMatch(/24 to 64 random bytes/);
      if (secret) expect(said).not.toContain(secret);
    },
  );
});
