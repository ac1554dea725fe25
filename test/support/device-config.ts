/** A device's configuration with iproute2's defaults, for tests that say what differs. */
import type { DeviceConfig } from '../../src/types.ts';

const DEFAULTS: DeviceConfig = {
  name: 'vx0',
  id: 42,
  dstport: 4789,
  srcport: [0, 0],
  learning: true,
  ageing: 300,
  maxaddress: 0,
  ttl: 0,
  tos: 0,
  df: 'unset',
  udpcsum: true,
  udp6zerocsumtx: false,
  udp6zerocsumrx: false,
  flowlabel: 0,
  proxy: false,
  rsc: false,
  l2miss: false,
  l3miss: false,
  remcsumtx: false,
  remcsumrx: false,
  localbypass: true,
  external: false,
  vnifilter: false,
  gbp: false,
  gpe: false,
};

export function deviceConfig(differences: Partial<DeviceConfig> = {}): DeviceConfig {
  return { ...DEFAULTS, ...differences };
}
