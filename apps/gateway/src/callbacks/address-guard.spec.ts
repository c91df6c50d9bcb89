import { AddressGuard, AddressRefusedError, type Lookup } from './address-guard.js';

const guard = new AddressGuard([]);

const CLOSED = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '198.18.0.1',
  '203.0.113.9',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::7f00:1',
  '::ffff:127.0.0.1',
  '::ffff:8.8.8.8',
  '0:0:0:0:0:FFFF:7f00:1',
  '64:ff9b::a00:1',
  '64:ff9b:1::1',
  '100::1',
  '2001::1',
  '2001:db8::1',
  '2002:7f00:1::',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fe80::1%eth0',
  'ff02::1',
  'example.org',
  '',
];
const PUBLIC = ['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00:1450:4001::1'];

function resolved(
  lookupGuard: AddressGuard,
  all: boolean,
): Promise<{ error: Error | null; address: unknown; family?: number }> {
  return new Promise((resolve) =>
    lookupGuard.lookup('host.test', { all }, (error, address, family) => resolve({ error, address, family })),
  );
}

const answering =
  (...addresses: string[]): Lookup =>
  (_hostname, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );

describe('the guard of addresses', () => {
  it.each(CLOSED)('refuses %p', (address) => expect(guard.permits(address)).toBe(false));
  it.each(PUBLIC)('permits %p', (address) => expect(guard.permits(address)).toBe(true));

  it.each(['[::1]', '127.0.0.1', '[::ffff:7f00:1]'])(
    'refuses the host %s, for which nothing is looked up',
    (host) => expect(() => guard.checkLiteral(host)).toThrow(AddressRefusedError),
  );
  it('leaves names to the lookup', () => expect(() => guard.checkLiteral('localhost')).not.toThrow());

  it('permits what the operator allows, and no more', () => {
    const opened = new AddressGuard(['127.0.0.0/8', '::1/128', 'fd00::/8']);
    for (const address of ['127.0.0.1', '::1', 'fd12::1', '8.8.8.8'])
      expect(opened.permits(address)).toBe(true);
    for (const address of ['10.0.0.1', '::2', 'fe80::1', '::ffff:127.0.0.1']) {
      expect(opened.permits(address)).toBe(false);
    }
  });

  it.each(['127.0.0.1', '10.0.0.0/33', 'fd00::/129', 'localhost/8', '10.0.0.0/', ''])(
    'does not take %p for a network',
    (cidr) => expect(() => new AddressGuard([cidr])).toThrow('is no network'),
  );

  it('hands a connection only the permitted addresses of a name', async () => {
    const mixed = new AddressGuard([], answering('10.0.0.1', '8.8.8.8', '::1'));
    expect(await resolved(mixed, true)).toMatchObject({
      error: null,
      address: [{ address: '8.8.8.8', family: 4 }],
    });
    expect(await resolved(mixed, false)).toEqual({ error: null, address: '8.8.8.8', family: 4 });
  });

  it('refuses a name all of whose addresses are closed', async () => {
    const answer = await resolved(new AddressGuard([], answering('127.0.0.1', '::1')), true);
    expect(answer.error).toBeInstanceOf(AddressRefusedError);
  });
});
