import { BlockList, isIP } from 'node:net';
import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';

/**
 * Keeps callbacks from reaching what only this machine or its network should reach. Addresses are judged, not
 * names, and those that the connection is really made to: a name that resolves differently a second later
 * gains nothing.
 */

/** Everything that IANA's special-purpose registries keep from the public internet. */
const CLOSED_IPV4 = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8',
  '100.64.0.0/10', // carrier-grade NAT
  '127.0.0.0/8',
  '169.254.0.0/16', // link-local, and the metadata services of clouds
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16',
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, and broadcast
];

/** Only 2000::/3 is public; within it these are not, or carry an IPv4 address that may be anything. */
const CLOSED_IPV6 = [
  '2001::/23', // protocol assignments, Teredo among them
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '3fff::/20', // documentation
];
const PUBLIC_IPV6 = '2000::/3';

const closed = networks([...CLOSED_IPV4, ...CLOSED_IPV6]);
const publicIpv6 = networks([PUBLIC_IPV6]);

export class AddressRefusedError extends Error {
  constructor(host: string) {
    super(
      `${host} is not a public address; callbacks go to public addresses and to the networks that the operator allows`,
    );
  }
}

export type Lookup = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

type ConnectLookupCallback = (
  error: Error | null,
  address: string | LookupAddress[],
  family?: number,
) => void;

export class AddressGuard {
  private readonly allowed: BlockList;

  /**
   * @param allowedNetworks CIDRs that are open although they are not public, such as `127.0.0.0/8`
   * @throws {Error} one of them is no CIDR
   */
  constructor(
    allowedNetworks: readonly string[],
    private readonly resolve: Lookup = systemLookup,
  ) {
    this.allowed = networks(allowedNetworks);
  }

  /** Whether a connection to this IP address may be made. */
  permits(address: string): boolean {
    const family = isIP(address);
    if (family === 0) return false;
    // BlockList would find IPv4-mapped addresses in the IPv4 networks; nobody needs them, so nobody gets them.
    if (family === 6) return this.permitsIpv6(address);
    return this.allowed.check(address, 'ipv4') || !closed.check(address, 'ipv4');
  }

  /**
   * For a host written as an address: no lookup happens for it.
   * @throws {AddressRefusedError}
   */
  checkLiteral(hostname: string): void {
    const address = hostname.replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) !== 0 && !this.permits(address)) throw new AddressRefusedError(hostname);
  }

  /** The `lookup` of a connection: answers only with permitted addresses. */
  readonly lookup = (hostname: string, options: LookupOptions, callback: ConnectLookupCallback): void => {
    this.resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, []);
      const permitted = found.filter(({ address }) => this.permits(address));
      const first = permitted[0];
      if (!first) return callback(new AddressRefusedError(hostname), []);
      if (options.all) callback(null, permitted);
      else callback(null, first.address, first.family);
    });
  };

  private permitsIpv6(address: string): boolean {
    const bare = address.replace(/%.*$/, '');
    if (isIpv4Mapped(bare)) return false;
    if (this.allowed.check(bare, 'ipv6')) return true;
    return publicIpv6.check(bare, 'ipv6') && !closed.check(bare, 'ipv6');
  }
}

/** URL writes every spelling of an address in one way. */
function isIpv4Mapped(address: string): boolean {
  return new URL(`http://[${address}]/`).hostname.startsWith('[::ffff:');
}

function networks(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = '', bits = ''] = cidr.split('/');
    const family = isIP(address);
    if (family === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) {
      throw new Error(
        `${JSON.stringify(cidr)} is no network; expected an address and a prefix length such as 10.0.0.0/8`,
      );
    }
    list.addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}
