/**
 * The configuration file: YAML (or JSON, which is YAML) in, one frozen Config out. Everything is checked
 * before anything is made; a refusal is one line with file, line, column and key.
 *
 *   socket: /run/vxlane/vxlane.sock      # all top-level keys may be left out
 *   queues: 2
 *   engine: auto                       # or batched, uring
 *   threads: 2                         # of each queue: one a direction, or one for both
 *   spin: 100                          # microseconds that a worker looks for more before it sleeps
 *   offloads: { udpSegment: true, udpGro: true, coalesce: true, tapUso: true }   # what is false here, no device has
 *   devices:
 *     - name: flannel.1                  # the words of `ip link add NAME type vxlan`
 *       id: 1
 *       dev: eth0
 *       nolearning: true
 *       gso: off                         # offloads that this device is without: gso, gro, uso
 *       up: false                        # devices are up unless told otherwise
 *       fdb:                             # the words of `bridge fdb add`
 *         - { mac: 36:3c:de:36:68:58, dst: 10.169.72.98 }
 *       mdb:                             # the words of `bridge mdb add`
 *         - { grp: 239.1.1.1, dst: 10.169.72.98 }
 *       peers:                           # who may send, with `knownpeers: true`
 *         - { mac: 36:3c:de:36:68:58, src: 10.169.72.98, prefixes: [10.244.1.0/24] }
 *       hooks:                           # programs on its packets, one a direction: hook-files.ts says which are taken
 *         - { direction: decap, file: /etc/vxlane/firewall.wasm, rules: /etc/vxlane/firewall.rules }
 *         - { direction: encap, file: /etc/vxlane/firewall.js, onstop: drop }  # when it hangs: drop, or pass
 *       vnis:                            # of an external device: `bridge vni add`, and the VLANs they are on
 *         - { vni: 100-109, vlan: 10 }     # with `vnifilter` both, without it the VLANs alone
 *   flannel:                             # networks whose devices and entries come from leases: flannel-schema.ts
 *     - leases: { file: /etc/vxlane/leases.yaml }
 *   health: { ip: 0.0.0.0, port: 8081 }  # /healthz, and /readyz: are they in their networks?
 */
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { HealthSetup, NetworkSetup } from '../flannel/flannel.ts';
import type { DeviceConfig, FdbRequest, MdbRequest, PeerRequest, VniRequest } from '../types.ts';
import type { EngineChoice } from '../vtep/options.ts';
import { objectionsToVnis, vniRequests, vniSchema } from './config-vnis.ts';
import { underlayOf } from './device-rules.ts';
import { flannelSchema, healthSchema } from './flannel-schema.ts';
import { type HookSetup, hookEntries } from './hook-schema.ts';
import { mdbEntries } from './mdb-schema.ts';
import { peerEntries } from './peer-schema.ts';
import {
  complaint,
  completeDevice,
  completeFdb,
  contradictions,
  deviceEntries,
  fdbEntries,
  knownWords,
  type Path,
  step,
  strict,
} from './schema.ts';
import { isMany, queues, SPIN_RANGE, spin, THREADS_RANGE } from './values.ts';

export interface DeviceSetup {
  readonly device: Readonly<DeviceConfig>;
  readonly up: boolean;
  readonly vnis: readonly Readonly<VniRequest>[];
  readonly fdb: readonly Readonly<FdbRequest>[];
  readonly mdb: readonly Readonly<MdbRequest>[];
  readonly peers: readonly Readonly<PeerRequest>[];
  readonly hooks: readonly Readonly<HookSetup>[];
}

export interface Config {
  readonly devices: readonly DeviceSetup[];
  readonly socket?: string;
  readonly queues?: number;
  readonly engine?: EngineChoice;
  readonly threads?: 1 | 2;
  readonly spin?: number;
  readonly offloads?: Readonly<Offloads>;
  readonly flannel?: readonly Readonly<NetworkSetup>[];
  readonly health?: Readonly<HealthSetup>;
}

export interface Offloads {
  udpSegment?: boolean;
  udpGro?: boolean;
  coalesce?: boolean;
  tapUso?: boolean;
}

const flag = v.exactOptional(v.boolean('true or false is expected'));

const setupSchema = v.pipe(
  v.unknown(),
  knownWords,
  strict({
    ...deviceEntries,
    up: v.exactOptional(v.boolean('true or false is expected'), true),
    fdb: v.exactOptional(v.array(strict(fdbEntries), 'a list of entries is expected'), []),
    mdb: v.exactOptional(v.array(strict(mdbEntries), 'a list of entries is expected'), []),
    peers: v.exactOptional(v.array(strict(peerEntries), 'a list of peers is expected'), []),
    hooks: v.exactOptional(v.array(strict(hookEntries), 'a list of hooks is expected'), []),
    vnis: v.exactOptional(v.array(vniSchema, 'a list of VNIs is expected'), []),
  }),
  contradictions(),
);

type SetupInput = v.InferOutput<typeof setupSchema>;

const configSchema = v.pipe(
  strict({
    socket: v.exactOptional(v.pipe(v.string('a path is expected'), v.nonEmpty('a path is expected'))),
    queues: v.exactOptional(
      v.pipe(
        v.number('a number is expected'),
        v.check((n) => accepted(() => queues(n)), 'the number of queues is 1 to 8'),
      ),
    ),
    threads: v.exactOptional(v.picklist([1, 2], THREADS_RANGE)),
    spin: v.exactOptional(
      v.pipe(
        v.number('a number is expected'),
        v.check((n) => accepted(() => spin(n)), SPIN_RANGE),
      ),
    ),
    engine: v.exactOptional(v.picklist(['auto', 'batched', 'uring'], 'auto, batched or uring is expected')),
    offloads: v.exactOptional(strict({ udpSegment: flag, udpGro: flag, coalesce: flag, tapUso: flag })),
    flannel: v.exactOptional(flannelSchema),
    health: v.exactOptional(healthSchema),
    devices: v.exactOptional(v.array(setupSchema, 'a list of devices is expected'), []),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    for (const { path, message } of clashes(dataset.value.devices)) {
      const input = dataset.value;
      addIssue({ message, path: path.map((key) => step(input, key)) as [v.IssuePathItem] });
    }
  }),
);

function accepted(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}

/** What makes two devices the same to a datagram; the flags are those that one socket has for all. */
function identity(device: DeviceConfig): string {
  const { id, dstport, gbp, gpe, udp6zerocsumrx, remcsumrx, external, vnifilter } = device;
  const flags = [gbp, gpe, udp6zerocsumrx, remcsumrx, external, vnifilter];
  return JSON.stringify([id, dstport, underlayOf(device), flags]);
}

/**
 * What no device can see by itself: two of a name, two of a VNI on one port, two hooks in one place, an FDB entry without
 * remote.
 */
function* clashes(devices: readonly SetupInput[]): Generator<{ path: Path; message: string }> {
  for (const [index, setup] of devices.entries()) {
    const device = completeDevice(setup);
    const earlier = devices.slice(0, index).map(completeDevice);
    if (earlier.some(({ name }) => name === device.name))
      yield { path: ['devices', index, 'name'], message: `"${device.name}" is there twice` };
    if (earlier.some((other) => identity(other) === identity(device)))
      yield {
        path: ['devices', index, 'id'],
        message: 'A VXLAN device with the specified VNI already exists, give one of them another dstport',
      };
    for (const [place, message] of objectionsToVnis(device, setup.vnis))
      yield { path: ['devices', index, 'vnis', ...place], message };
    for (const [entry, { direction }] of setup.hooks.entries())
      if (setup.hooks.slice(0, entry).some((other) => other.direction === direction))
        yield {
          path: ['devices', index, 'hooks', entry, 'direction'],
          message: `"${direction}" is there twice: one program a direction`,
        };
    for (const [entry, { dst, nhid }] of setup.fdb.entries())
      if (dst === undefined && !nhid)
        yield {
          path: ['devices', index, 'fdb', entry, 'dst'],
          message: 'missing: the address of the far VTEP',
        };
  }
}

/** A MAC that may have several remotes collects them; any other that is there twice is refused. */
function setup({ up, fdb, mdb, peers, hooks, vnis, ...given }: SetupInput): DeviceSetup {
  const device = completeDevice(given);
  const dev = device.name;
  const requests = fdb.map((entry) =>
    completeFdb({ op: isMany(entry.mac) ? ('append' as const) : ('add' as const), dev, ...entry }),
  );
  return {
    device,
    up,
    vnis: vnis.flatMap((entry) => vniRequests(device, entry)),
    fdb: requests as FdbRequest[],
    mdb: mdb.map((entry) => ({ op: 'add', dev, ...entry }) as MdbRequest),
    peers: peers.map((entry) => ({ op: 'set' as const, dev, ...entry })),
    hooks,
  };
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) freeze(inner);
    Object.freeze(value);
  }
  return value;
}

/** Devices without a file, all up. */
export function configOf(devices: readonly DeviceConfig[]): Config {
  const nothing = { vnis: [], fdb: [], mdb: [], peers: [], hooks: [] };
  return freeze({ devices: devices.map((device) => ({ device, up: true, ...nothing })) });
}

export async function loadConfig(file: string): Promise<Config> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message;
    throw new VtepError('NOT_FOUND', `config ${file}: ${reason}`);
  }
  return readConfig(text, file);
}

/** `file` is only for messages. */
export async function readConfig(text: string, file: string): Promise<Config> {
  const { LineCounter, parseDocument } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const refuse = (offset: number | undefined, error: VtepError) => {
    const { line, col } = lines.linePos(offset ?? 0);
    return new VtepError(error.code, `config ${file}:${line || 1}:${col || 1}: ${error.message}`);
  };
  const broken = document.errors[0];
  if (broken !== undefined) throw refuse(broken.pos[0], new VtepError('USAGE', broken.message));

  let input: unknown;
  try {
    input = document.toJS() ?? {};
  } catch (error) {
    throw refuse(0, new VtepError('USAGE', (error as Error).message));
  }
  const result = v.safeParse(configSchema, input, { abortEarly: true });
  if (result.success) {
    const { devices, ...rest } = result.output;
    return freeze({ ...rest, devices: devices.map(setup) });
  }
  const { path, error } = complaint(result.issues);
  throw refuse(offsetOf(path), error);

  /** Where the value stands, or the nearest thing around it when it is missing. */
  function offsetOf(path: Path): number | undefined {
    for (let depth = path.length; depth > 0; depth--) {
      const node = document.getIn(path.slice(0, depth), true) as
        | { range?: [number, number, number] }
        | undefined;
      if (node?.range) return node.range[0];
    }
    return document.contents?.range?.[0];
  }
}
