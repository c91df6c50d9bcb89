import { TcpProxy } from './tcp-proxy.js';

/** Every stretch of network of a town, each by a proxy. */
export interface Wires {
  /** For each worker by its number. */
  readonly workerBroker: readonly TcpProxy[];
  readonly workerGateway: readonly TcpProxy[];
  readonly gatewayBroker: TcpProxy;
  readonly gatewayDatabase: TcpProxy;
  /** Where blobs lie in a store with a network before it. */
  readonly gatewayBlobs?: TcpProxy;
}

export function allOf(wires: Wires): TcpProxy[] {
  const { workerBroker, workerGateway, gatewayBroker, gatewayDatabase, gatewayBlobs } = wires;
  return [
    ...workerBroker,
    ...workerGateway,
    gatewayBroker,
    gatewayDatabase,
    ...(gatewayBlobs ? [gatewayBlobs] : []),
  ];
}
