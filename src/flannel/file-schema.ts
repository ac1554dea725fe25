/**
 * A file of leases: YAML (or JSON, which is YAML). The same file may lie on every node.
 *
 *   config:                        # flannel's configuration of the network, keys as in net-conf.json
 *     Network: 10.244.0.0/16
 *     Backend: { Type: vxlan, VNI: 1 }
 *   self: node-a                   # which of the leases is ours; left out: the one with an address of this host
 *   subnet: 10.244.1.0/24          # ours, where no lease of the list is; also subnetV6
 *   leases:
 *     - name: node-b               # left out: its public IP
 *       publicIp: 192.0.2.2        # also publicIpV6
 *       subnet: 10.244.2.0/24      # also subnetV6
 *       mac: 36:3c:de:36:68:58     # also macV6; ours may be left out
 *       port: 8472                 # where it differs from the network's
 */
import * as v from 'valibot';
import type { Lease } from './lease.ts';
import type { IpVersion } from './prefix.ts';
import { formatAddress, formatNetwork, parseAddress, parseNetwork } from './subnets.ts';

export interface LeaseFile {
  /** As JSON text, which is what the parser of flannel's configuration takes. */
  config: string;
  self?: string;
  subnet?: string;
  subnetV6?: string;
  leases: Lease[];
}

const ip = (family: IpVersion) => {
  const expected = `an IPv${family} address is expected`;
  return v.pipe(
    v.string(expected),
    v.check((text) => parseAddress(text, family) !== undefined, expected),
    v.transform((text) => formatAddress(parseAddress(text, family)!)),
  );
};

/** "10.244.1.0/24": the network's own address. */
const subnet = (family: IpVersion) => {
  const expected = `a subnet such as ${family === 4 ? '10.244.1.0/24' : 'fd00:1::/64'} is expected`;
  return v.pipe(
    v.string(expected),
    v.check((text) => parseNetwork(text, family) !== undefined, expected),
    v.transform((text) => formatNetwork(parseNetwork(text, family)!)),
  );
};

const number = (least: number, most: number) => {
  const expected = `a number from ${least} to ${most} is expected`;
  return v.pipe(
    v.number(expected),
    v.integer(expected),
    v.minValue(least, expected),
    v.maxValue(most, expected),
  );
};

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const mac = v.pipe(
  v.string('a MAC such as 36:3c:de:36:68:58 is expected'),
  v.regex(MAC, 'a MAC such as 36:3c:de:36:68:58 is expected'),
  v.toLowerCase(),
);
const name = v.pipe(v.string('a name is expected'), v.nonEmpty('a name is expected'));

const leaseSchema = v.pipe(
  v.strictObject({
    name: v.exactOptional(name),
    publicIp: v.exactOptional(ip(4)),
    publicIpV6: v.exactOptional(ip(6)),
    subnet: v.exactOptional(subnet(4)),
    subnetV6: v.exactOptional(subnet(6)),
    mac: v.exactOptional(mac),
    macV6: v.exactOptional(mac),
    vni: v.exactOptional(number(0, 0xffffff)),
    port: v.exactOptional(number(1, 65535)),
    backendType: v.exactOptional(name),
  }),
  v.check(
    ({ publicIp, publicIpV6, subnet, subnetV6 }) =>
      (publicIp !== undefined && subnet !== undefined) ||
      (publicIpV6 !== undefined && subnetV6 !== undefined),
    'publicIp with subnet, or publicIpV6 with subnetV6, is expected',
  ),
);

const fileSchema = v.strictObject({
  config: v.record(v.string(), v.unknown(), 'the configuration of the network is expected'),
  self: v.exactOptional(name),
  subnet: v.exactOptional(subnet(4)),
  subnetV6: v.exactOptional(subnet(6)),
  leases: v.exactOptional(v.array(leaseSchema, 'a list of leases is expected'), []),
});

/** What is wrong with a file, and where. */
class FileError extends Error {}

/** @param where name of the file, for messages. @throws FileError with line and column */
export async function parseLeaseFile(text: string, where: string): Promise<LeaseFile> {
  return parseJson(text) ?? parseYaml(text, where);
}

/** JSON that is right takes a hundredth of the time; what is wrong with it, YAML's parser can place. */
function parseJson(text: string): LeaseFile | undefined {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    const { config, leases, ...rest } = v.parse(fileSchema, JSON.parse(text));
    const found = leases.map(leaseOf);
    const isUnique = new Set(found.map(({ key }) => key)).size === found.length;
    return isUnique ? { ...rest, config: JSON.stringify(config), leases: found } : undefined;
  } catch {
    return undefined;
  }
}

async function parseYaml(text: string, where: string): Promise<LeaseFile> {
  const { LineCounter, parseDocument } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const refuse = (offset: number, message: string) => {
    const { line, col } = lines.linePos(offset);
    return new FileError(`${where}:${line || 1}:${col || 1}: ${message}`);
  };
  const broken = document.errors[0];
  if (broken !== undefined) throw refuse(broken.pos[0], broken.message);
  let input: unknown;
  try {
    input = document.toJS() ?? {};
  } catch (error) {
    throw refuse(0, (error as Error).message);
  }
  const result = v.safeParse(fileSchema, input, { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    const path = issue.path?.map(({ key }) => key) ?? [];
    const unknown = issue.type === 'strict_object' && issue.expected === 'never';
    const missing = issue.received === 'undefined';
    const said = unknown ? 'no such key' : missing ? 'missing' : issue.message;
    throw refuse(offsetOf(path), `${path.join('.')}${path.length > 0 ? ': ' : ''}${said}`);
  }
  const { config, leases, ...rest } = result.output;
  const found = leases.map(leaseOf);
  const keys = new Set<string>();
  for (const [index, { key }] of found.entries()) {
    if (keys.has(key)) throw refuse(offsetOf(['leases', index]), `leases.${index}: "${key}" is there twice`);
    keys.add(key);
  }
  return { ...rest, config: JSON.stringify(config), leases: found };

  /** Where the value stands, or the nearest thing around it when it is missing. */
  function offsetOf(path: readonly unknown[]): number {
    for (let depth = path.length; depth > 0; depth--) {
      const node = document.getIn(path.slice(0, depth), true) as { range?: [number] } | undefined;
      if (node?.range) return node.range[0];
    }
    return document.contents?.range?.[0] ?? 0;
  }
}

function leaseOf(input: v.InferOutput<typeof leaseSchema>): Lease {
  const { name, mac, macV6, vni = 1, port, backendType = 'vxlan', ...addresses } = input;
  const backend = (one: string | undefined) =>
    one === undefined ? undefined : { vni, mac: one, ...(port === undefined ? {} : { port }) };
  const [v4, v6] = [backend(mac), backend(macV6)];
  return {
    key: name ?? addresses.publicIp ?? addresses.publicIpV6!,
    ...addresses,
    backendType: backendType.toLowerCase(),
    ...(v4 === undefined ? {} : { backend: v4 }),
    ...(v6 === undefined ? {} : { backendV6: v6 }),
  };
}
