/** A device of an embedded dataplane, from options to the record that packets read. */
import ipaddr from 'ipaddr.js';
import { AF_INET, AF_INET6 } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { DeviceRecord } from './devices.ts';
import type { EmbeddedDevice } from './embedded-types.ts';
import { parseAddress } from './fdb-text.ts';
import { SOURCE, SOURCE_DF } from './parcels.ts';
import { VXLAN_PORT } from './queue.ts';

const AGEING_DEFAULT = 300;
const MTU_DEFAULT = 1500;

/** What tables don't look at. @throws VtepError USAGE */
export function checkDevice({
  name,
  vni,
  external,
  vnifilter,
  gpe,
  gbp,
  knownpeers,
  remote,
  port,
}: EmbeddedDevice): void {
  const refuse = (why: string) => {
    throw new VtepError('USAGE', `device ${name}: ${why}`);
  };
  if (typeof name !== 'string' || name === '' || name.includes('\0')) refuse('give it a name');
  if (external && vni !== 0) refuse('an external device has VNI 0: give it others by vnis.apply');
  if (vnifilter && !external) refuse('vnifilter needs external');
  if (gpe && (gbp || external)) refuse('gpe excludes gbp and external');
  if (gpe && knownpeers) refuse('knownpeers asks for MACs, which packets of gpe have not');
  if (remote !== undefined && parseAddress(remote) === undefined)
    refuse(`remote ${remote}: that is no IP address`);
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port <= 0xffff))
    refuse(`port ${port}: give a number from 1 to 65535`);
}

export function familyOf({
  remote,
  family,
}: Pick<EmbeddedDevice, 'remote' | 'family'>): typeof AF_INET | typeof AF_INET6 {
  const isIpv6 = remote === undefined ? family === 'inet6' : ipaddr.IPv6.isValid(remote);
  return isIpv6 ? AF_INET6 : AF_INET;
}

export function recordOf(device: EmbeddedDevice): DeviceRecord {
  const { vni, address, port = VXLAN_PORT, mtu = MTU_DEFAULT, learning = !device.gpe } = device;
  const { ageing, maxaddress = 0, ttl = 0, tos = 0, df = 'unset', flowlabel = 0 } = device;
  return {
    ...{ vni, address, port, mtu, learning, maxaddress, ttl, tos, df, flowlabel },
    ageing: ageing || AGEING_DEFAULT,
    family: familyOf(device),
    source: SOURCE,
    sourceDf: SOURCE_DF,
    features: device,
  };
}
