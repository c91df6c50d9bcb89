import type { GatewayConfig } from '../gateway.config.js';

/** After this many missed heartbeats a worker no longer counts as there. */
const MISSED_HEARTBEATS = 3;

/** Seconds of silence after which a worker no longer counts as there. */
export function goneAfter({ heartbeat }: Pick<GatewayConfig, 'heartbeat'>): number {
  return heartbeat * MISSED_HEARTBEATS + 1;
}
