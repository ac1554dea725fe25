/**
 * Flannel networks in the configuration file, as many as there are leases for:
 *
 *   flannel:
 *     - name: default                        # names its file of state; once of a kind
 *       leases: { file: /etc/vxlane/leases.yaml }
 *       # or    { etcd: { endpoints: [https://192.0.2.9:2379], prefix: /coreos.com/network, cafile: ca.pem } }
 *       # or    { kubernetes: { kubeconfig: admin.conf, netConfPath: /etc/kube-flannel/net-conf.json } }
 *       iface: [eth0]                        # also ifaceRegex, ifaceCanReach, publicIp, publicIpV6
 *       subnetFile: /run/flannel/subnet.env
 *       bind: false                          # receive on our own address only
 *       validateSources: true                # take frames only from peers, from their own addresses
 *       reconcileInterval: 10                # seconds between two looks at everything
 */
import * as v from 'valibot';
import type { NetworkSetup } from '../flannel/flannel.ts';
import { STATE_DIRECTORY } from '../flannel/node-state.ts';
import type { SourceSetup } from '../flannel/sources.ts';
import { strict } from './shapes.ts';

const flag = (otherwise: boolean) => v.exactOptional(v.boolean('true or false is expected'), otherwise);
const text = (what: string) => v.pipe(v.string(`${what} is expected`), v.nonEmpty(`${what} is expected`));
const path = text('a path');
const maybe = (what: string) => v.exactOptional(text(what));
const address = (...kinds: ('ipv4' | 'ipv6')[]) => {
  const expected = `an ${kinds.length > 1 ? 'IP' : kinds[0] === 'ipv4' ? 'IPv4' : 'IPv6'} address is expected`;
  const is = kinds.map((kind) => (kind === 'ipv4' ? v.ipv4(expected) : v.ipv6(expected)));
  return v.exactOptional(
    v.union(
      is.map((one) => v.pipe(v.string(expected), one)),
      expected,
    ),
  );
};
const number = (least: number, most: number, otherwise: number) => {
  const expected = `a number from ${least} to ${most} is expected`;
  return v.exactOptional(
    v.pipe(v.number(expected), v.integer(expected), v.minValue(least, expected), v.maxValue(most, expected)),
    otherwise,
  );
};
const list = (what: string) => v.exactOptional(v.array(text(what), `a list of ${what}s is expected`), []);

const etcd = strict({
  endpoints: v.exactOptional(
    v.pipe(v.array(text('a URL'), 'a list of URLs is expected'), v.nonEmpty('a list of URLs is expected')),
    ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
  ),
  prefix: v.exactOptional(text('a key'), '/coreos.com/network'),
  cafile: v.exactOptional(path),
  certfile: v.exactOptional(path),
  keyfile: v.exactOptional(path),
  username: maybe('a name'),
  password: maybe('a password'),
  renewMargin: number(1, 1439, 60),
});

const kubernetes = strict({
  kubeconfig: v.exactOptional(path),
  apiUrl: maybe('a URL'),
  nodeName: maybe('a name'),
  netConfPath: v.exactOptional(path, '/etc/kube-flannel/net-conf.json'),
  annotationPrefix: v.exactOptional(text('a prefix'), 'flannel.alpha.coreos.com'),
  setNodeNetworkUnavailable: flag(true),
});

const leases = v.pipe(
  strict({
    file: v.exactOptional(path),
    etcd: v.exactOptional(etcd),
    kubernetes: v.exactOptional(kubernetes),
  }),
  v.check((given) => Object.keys(given).length === 1, 'one of file, etcd and kubernetes is expected'),
  v.transform(({ file, etcd, kubernetes }): SourceSetup => {
    if (file !== undefined) return { kind: 'file', path: file };
    return etcd === undefined ? { kind: 'kubernetes', ...kubernetes! } : { kind: 'etcd', ...etcd };
  }),
);

const network = v.pipe(
  strict({
    name: v.exactOptional(
      v.pipe(
        v.string('a name is expected'),
        v.regex(/^[\w.-]{1,64}$/, 'a name of letters, digits, dots and dashes is expected'),
      ),
      'default',
    ),
    leases,
    stateDirectory: v.exactOptional(path, STATE_DIRECTORY),
    subnetFile: v.exactOptional(path, '/run/flannel/subnet.env'),
    ipMasq: flag(false),
    bind: flag(false),
    validateSources: flag(true),
    reconcileInterval: number(1, 86_400, 10),
    iface: list('interface'),
    ifaceRegex: list('pattern'),
    ifaceCanReach: address('ipv4', 'ipv6'),
    publicIp: address('ipv4'),
    publicIpV6: address('ipv6'),
  }),
  v.transform(({ leases, ...rest }): NetworkSetup => ({ ...rest, source: leases })),
);

export const flannelSchema = v.pipe(
  v.array(network, 'a list of flannel networks is expected'),
  v.check(
    (networks) => areDifferent(networks.map(({ name }) => name)),
    'each network needs a name of its own',
  ),
  v.check(
    (networks) => areDifferent(networks.map(({ subnetFile }) => subnetFile)),
    'each network needs a subnetFile of its own',
  ),
);

export const healthSchema = strict({
  ip: v.exactOptional(text('an IP address'), '0.0.0.0'),
  port: number(0, 65_535, 0),
});

function areDifferent(texts: readonly string[]): boolean {
  return new Set(texts).size === texts.length;
}
