/**
 * The objects of the command line in the order in which a prefix is tried: `l` is link, `m` is mdb once it is
 * there. One entry each: what it is called, what its errors are worth, and the file that speaks it.
 */
import type { Exits, Spoken } from './command.ts';
import * as help from './object-help.ts';

/** `ip` tells its own refusals (1) from the kernel's (2); `bridge` does not. */
export const IP: Exits = { usage: 1, refused: 2 };
export const BRIDGE: Exits = { usage: 255, refused: 255 };

export const OBJECTS: readonly Spoken[] = [
  {
    name: 'link',
    verbs: 'add|set|del|show ...',
    what: 'devices: the words of ip link',
    help: help.LINK,
    exits: IP,
    run: async (command) => (await import('./link.ts')).link(command),
  },
  {
    name: 'fdb',
    verbs: 'add|append|replace|del|show|get|flush ...',
    what: 'forwarding entries: the words of bridge fdb',
    help: help.FDB,
    exits: BRIDGE,
    run: async (command) => (await import('./fdb.ts')).fdb(command),
  },
  {
    name: 'mdb',
    verbs: 'add|replace|del|show|get|flush ...',
    what: 'multicast groups: the words of bridge mdb',
    help: help.MDB,
    exits: BRIDGE,
    run: async (command) => (await import('./mdb.ts')).mdb(command),
  },
  {
    name: 'vlan',
    verbs: 'add|del|show ...',
    what: 'VLANs of an external device and their VNIs: bridge vlan ... tunnel_info',
    help: help.VLAN,
    exits: BRIDGE,
    run: async (command) => (await import('./vlan.ts')).vlan(command),
  },
  {
    name: 'vni',
    verbs: 'add|del|show ...',
    what: 'VNIs of a device with vnifilter: the words of bridge vni',
    help: help.VNI,
    exits: BRIDGE,
    run: async (command) => (await import('./vni.ts')).vni(command),
  },
  {
    name: 'policy',
    verbs: 'add|del|refuse|allow|show ...',
    what: 'group policy ids of a device with gbp',
    help: help.POLICY,
    exits: BRIDGE,
    run: async (command) => (await import('./policy.ts')).policy(command),
  },
  {
    name: 'peer',
    verbs: 'set|del|show ...',
    what: 'who a device with knownpeers takes frames from',
    help: help.PEER,
    exits: BRIDGE,
    run: async (command) => (await import('./peer.ts')).peer(command),
  },
  {
    name: 'hook',
    verbs: 'add|replace|del|show ...',
    what: 'programs that decide on each packet of a device',
    help: help.HOOK,
    exits: BRIDGE,
    run: async (command) => (await import('./hook.ts')).hook(command),
  },
  {
    name: 'monitor',
    verbs: '[link|fdb|vni|mdb|neigh|hook|all] [dev NAME]',
    what: 'what changes, as it changes: the words of bridge monitor',
    help: help.MONITOR,
    exits: BRIDGE,
    run: async (command) => (await import('./monitor.ts')).monitor(command),
  },
  {
    name: 'neigh',
    aliases: ['neighbour', 'neighbor'],
    verbs: 'add|replace|del|show|flush|get ...',
    what: 'neighbours behind a device (proxy, rsc): ip neigh itself',
    help: help.NEIGH,
    exits: IP,
    run: async (command) => (await import('./real-ip.ts')).realIp('neigh', command),
  },
  {
    name: 'nexthop',
    verbs: 'add|replace|del|show|flush|get ...',
    what: 'nexthop groups for fdb entries (nhid): ip nexthop itself',
    help: help.NEXTHOP,
    exits: IP,
    run: async (command) => (await import('./real-ip.ts')).realIp('nexthop', command),
  },
];
