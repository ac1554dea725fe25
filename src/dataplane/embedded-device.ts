/** A device of an embedded dataplane, from options to the record that packets read. */
import ipaddr from 'ipaddr.js';
import { AF_INET, AF_INET6, VXLAN_VNI_MAX } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { AGEING_DEFAULT_SECONDS, MTU_DEFAULT } from './device-features.ts';
import type { DeviceRecord } from './devices.ts';
import type { EmbeddedDevice } from './embedded-types.ts';
import { parseAddress, parseMac } from './fdb-text.ts';
import { SOURCE, SOURCE_DF } from './parcels.ts';
import { VXLAN_PORT } from './queue.ts';
import { checkShape, type Shape } from './shape.ts';

const REQUIRED: Shape = { name: 'text', vni: 'number', address: 'text' };
const OPTIONAL: Shape = {
  ...{ port: 'number', remote: 'text', family: 'text', mtu: 'number', learning: 'flag', ageing: 'word' },
  ...{ maxaddress: 'number', ttl: 'word', tos: 'word', df: 'text', flowlabel: 'word', policy: 'number' },
  ...{ proxy: 'flag', proxyforward: 'flag', rsc: 'flag', l2miss: 'flag', l3miss: 'flag', external: 'flag' },
  ...{ vnifilter: 'flag', gbp: 'flag', gpe: 'flag', remcsumtx: 'flag', remcsumrx: 'flag' },
  ...{ latelearning: 'flag', honourdontlearn: 'flag', knownsenders: 'flag', knownpeers: 'flag' },
};
/** First and last of what is a number; and the word that may stand instead. */
const NUMBERS: Readonly<Record<string, readonly [first: number, last: number, word?: string]>> = {
  vni: [0, VXLAN_VNI_MAX],
  port: [1, 0xffff],
  mtu: [68, 0xffff],
  ageing: [0, 0xffffffff, 'never'],
  maxaddress: [0, 0xffffffff],
  ttl: [0, 255, 'inherit'],
  tos: [0, 255, 'inherit'],
  flowlabel: [0, 0xfffff, 'inherit'],
  policy: [0, 0xffff],
};
const WORDS: Readonly<Record<string, readonly string[]>> = {
  family: ['inet', 'inet6'],
  df: ['unset', 'set', 'inherit'],
};

/** What tables don't look at. @throws VtepError USAGE */
export function checkDevice(device: EmbeddedDevice): void {
  checkShape('device', device, REQUIRED, OPTIONAL);
  const { name, vni, address, external, vnifilter, gpe, gbp, knownpeers, remote } = device;
  const refuse = (why: string) => {
    throw new VtepError('USAGE', `device ${name}: ${why}`);
  };
  if (name === '' || name.includes('\0')) refuse('give it a name');
  const values = device as unknown as Readonly<Record<string, number | string | undefined>>;
  for (const [key, [first, last, word]] of Object.entries(NUMBERS)) {
    const value = values[key];
    const fits = typeof value === 'number' && Number.isInteger(value) && value >= first && value <= last;
    if (value !== undefined && value !== word && !fits)
      refuse(
        `${key} ${value}: give a number from ${first} to ${last}${word === undefined ? '' : `, or ${word}`}`,
      );
  }
  for (const [key, words] of Object.entries(WORDS)) {
    const value = values[key];
    if (value !== undefined && !words.includes(value as string))
      refuse(`${key} ${value}: give ${words.join(', ')}`);
  }
  if (parseMac(address) === undefined && !(gpe && address === ''))
    refuse(`address ${address}: that is no MAC: write it as 02:00:00:00:00:01`);
  if (external && vni !== 0) refuse('an external device has VNI 0: give it others by vnis.apply');
  if (vnifilter && !external) refuse('vnifilter needs external');
  if (gpe && (gbp || external)) refuse('gpe excludes gbp and external');
  if (gpe && knownpeers) refuse('knownpeers asks for MACs, which packets of gpe have not');
  if (remote !== undefined && parseAddress(remote) === undefined)
    refuse(`remote ${remote}: that is no IP address`);
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
    ageing: ageing || AGEING_DEFAULT_SECONDS,
    family: familyOf(device),
    source: SOURCE,
    sourceDf: SOURCE_DF,
    features: device,
  };
}
