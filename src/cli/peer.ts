/** `vxlane peer ...`: who a device with `knownpeers` takes frames from. Our own words, in iproute2's grammar. */
import { peerSource, prefixList } from '../daemon/peer-schema.ts';
import * as values from '../daemon/values.ts';
import type { PeerInfo, PeerRequest } from '../types.ts';
import type { Command } from './command.ts';
import { toJson } from './json.ts';
import { DEV, exact, firstMatch, parseShown, parseWords, unknownVerb, usage } from './words.ts';

const VERBS = ['set', 'delete', 'show', 'lst', 'list'];

const MAC = { key: 'mac', read: [values.mac], called: 'MAC' };
const OF_PEER = [exact('src', peerSource), exact('prefix', prefixList, 'prefixes')];

export function parseChange(op: PeerRequest['op'], words: readonly string[]): PeerRequest {
  const found: { mac?: string; dev?: string; src?: string } = parseWords(words, {
    keywords: op === 'set' ? [DEV, ...OF_PEER] : [DEV],
    positional: MAC,
    unknown: (word) => `unknown word "${word}": "vxlane peer help" lists the words of "peer ${op}"`,
  }).values;
  if (found.mac === undefined || found.dev === undefined)
    throw usage(`Device and MAC are required arguments. As in "peer ${op} MAC dev NAME"`);
  if (op === 'set' && found.src === undefined)
    throw usage(
      `"src" is missing: name the address that it sends from, as in "peer set MAC dev NAME src ADDR"`,
    );
  return { op, ...found } as PeerRequest;
}

export async function peer({
  words: [word = 'show', ...words],
  client,
  flags,
  outside,
}: Command): Promise<void> {
  const verb = firstMatch(word, VERBS);
  switch (verb) {
    case 'set':
      return client.peerChange(parseChange('set', words));
    case 'delete':
      return client.peerChange(parseChange('del', words));
    case undefined:
      throw unknownVerb('peer', word);
    default: {
      const peers = await client.peers(parseShown('peer', words));
      const counted = flags.statistics > 0;
      outside.out(flags.json ? toJson(peerObjects(peers, counted), flags.pretty) : peerText(peers, counted));
    }
  }
}

/** One line each; with counters two more. */
function peerText(peers: readonly PeerInfo[], counted: boolean): string {
  return peers
    .map(({ mac, ifname, src, prefixes, last, stats: { rx, tx } }) =>
      [
        [mac, 'dev', ifname, 'src', src, ...(prefixes.length > 0 ? ['prefix', prefixes.join()] : [])].join(
          ' ',
        ),
        ...(counted
          ? [
              `    rx packets ${rx.packets} bytes ${rx.bytes} address_drops ${rx.address_drops} subnet_drops ${rx.subnet_drops} last ${last ?? 'never'}`,
              `    tx packets ${tx.packets} bytes ${tx.bytes}`,
            ]
          : []),
        '',
      ].join('\n'),
    )
    .join('');
}

function peerObjects(peers: readonly PeerInfo[], counted: boolean): object[] {
  return counted
    ? [...peers]
    : peers.map(({ mac, ifname, src, prefixes }) => ({ ifname, mac, src, prefixes }));
}
