/**
 * The objects of the command line in the order in which a prefix is tried: `l` is link, `m` is mdb once it is
 * there. One entry each: what it is called, what its errors are worth, and the file that speaks it.
 */
import type { Exits, Spoken } from './command.ts';
import * as help from './help.ts';

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
];
