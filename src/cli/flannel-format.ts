/** `vxlane flannel status`: each network as a page of text, each peer as a line of it. */
import type { SourceState } from '../flannel/lease.ts';
import type { FlannelStatus, NetworkStatus, PeerStatus } from '../flannel/network-status.ts';
import { duration, scaled, table } from './status-format.ts';

const NONE = 'no flannel network: "vxlane flannel --help" says how to be in one';

export function flannelText({ networks }: FlannelStatus, now: number = Date.now()): string {
  if (networks.length === 0) return `${NONE}\n`;
  return `${networks.map((network) => networkText(network, now)).join('\n\n')}\n`;
}

function networkText(network: NetworkStatus, now: number): string {
  const { name, phase, source, config, lease, overlays, problems } = network;
  const facts: [string, string][] = [
    [`flannel ${name}`, phase === 'running' ? 'running' : `waits for its ${phase}`],
    ['leases', sourceText(source, now)],
  ];
  if (config !== undefined) {
    const { vni, port, directRouting } = config.backend;
    const networks = [config.network, config.ipv6Network].filter((one) => one !== undefined).join(' and ');
    facts.push([
      'network',
      `${networks}, VNI ${vni}, UDP port ${port}${directRouting ? ', DirectRouting' : ''}`,
    ]);
  }
  if (lease !== undefined) {
    const addresses = [lease.publicIp, lease.publicIpV6].filter((one) => one !== undefined).join(' and ');
    const subnets = [lease.subnet, lease.subnetV6].filter((one) => one !== undefined).join(' and ');
    facts.push(['our lease', `${subnets} at ${addresses}${expiry(lease.expires, now)}`]);
  }
  for (const { name, mac, mtu, up, local, dev } of overlays)
    facts.push([
      'device',
      `${name} ${up ? 'up' : 'down'}, MAC ${mac}, MTU ${mtu}, from ${local} over ${dev}`,
    ]);
  for (const { key, reason } of source.skipped) facts.push(['left out', `${key}: ${reason}`]);
  for (const problem of problems) facts.push(['problem', problem]);
  const width = Math.max(...facts.map(([what]) => what.length)) + 2;
  const lines = facts.map(([what, fact], index) => {
    const before = index > 0 ? facts[index - 1]![0] : '';
    return `${(what === before ? '' : what).padEnd(width)}${fact}`;
  });
  return [...lines, '', ...peersText(network)].join('\n');
}

function sourceText(source: SourceState, now: number): string {
  const { kind, where, synced, connected, error } = source;
  const since = duration(Math.max(0, now - source.since) / 1000);
  const state = connected ? (synced ? 'synced' : 'connected, not synced yet') : `away for ${since}`;
  return `${kind} ${where}, ${state}${error === undefined ? '' : `: ${error}`}`;
}

function expiry(expires: number | undefined, now: number): string {
  if (expires === undefined) return '';
  return expires > now ? `, for ${duration((expires - now) / 1000)}` : ', run out';
}

function peersText({ peers, phase }: NetworkStatus): string[] {
  if (peers.length === 0) return phase === 'running' ? ['no peers'] : [];
  return table(
    [
      [
        'PEER',
        'SUBNET',
        'PUBLIC IP',
        'WAY',
        'ANSWERS',
        'RTT',
        'PATH MTU',
        'LAST',
        'RX PKT',
        'TX PKT',
        'REFUSED',
        '',
      ],
      ...peers.map(peerRow),
    ],
    true,
  );
}

function peerRow({ key, subnet, publicIp, state, error, reachability, last, stats }: PeerStatus): string[] {
  const { rttMs, pathMtu } = reachability ?? {};
  return [
    ...[key, subnet, publicIp, state],
    answersText(reachability),
    rttMs === undefined ? '-' : `${rttMs.toFixed(rttMs < 10 ? 2 : 0)} ms`,
    pathMtu === undefined ? '-' : pathMtu === 0 ? 'no way' : String(pathMtu),
    last === undefined ? '-' : duration(last),
    stats === undefined ? '-' : scaled(stats.rx.packets),
    stats === undefined ? '-' : scaled(stats.tx.packets),
    stats === undefined ? '-' : scaled(stats.rx.address_drops + stats.rx.subnet_drops),
    error ?? '',
  ];
}

function answersText(reachability: PeerStatus['reachability']): string {
  if (reachability === undefined || reachability.state === 'unknown') return '?';
  if (reachability.state === 'silent') return 'no';
  return reachability.fullSize === 'lost' ? 'small ones' : 'yes';
}
