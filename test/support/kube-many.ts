/**
 * An API server with thousands of nodes in a process of its own, so that whoever measures a source of leases measures
 * nothing else. Nodes are as big as real ones: images, conditions, addresses, managedFields.
 *
 *   node --import tsx test/support/kube-many.ts COUNT
 *
 * Says how it is reached over IPC when it stands; "change" makes one node's address another one and answers with its
 * name and the time; "beat" lets COUNT/10 nodes report their state.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { KubeApiServer } from './kube-api-server.ts';
import type { NodeSeed } from './kube-store.ts';

const F = 'flannel.alpha.coreos.com/';
const IMAGES = 50;

export interface Changed {
  name: string;
  publicIp: string;
  /** As performance.timeOrigin + performance.now() counts. */
  at: number;
}

export interface ManyNodes {
  kubeconfig: string;
  /** As a pod's service account. */
  pod: { podRoot: string; environment: Record<string, string> };
  /** Bytes of one node as JSON. */
  nodeBytes: number;
  change(): Promise<Changed>;
  beat(): Promise<void>;
  close(): void;
}

export const now = () => performance.timeOrigin + performance.now();

function manyNode(index: number): NodeSeed {
  const [high, low] = [index >> 8, index & 0xff];
  const mac = [0x0a, 0, 0, 0, high, low].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
  const image = (number: number) => ({
    names: [
      `registry.example.org/team/service-${number}@sha256:${String(number).padStart(64, 'a')}`,
      `registry.example.org/team/service-${number}:v1.${number}`,
    ],
    sizeBytes: 100_000_000 + number,
  });
  const condition = (type: string) => ({
    ...{
      type,
      status: 'False',
      reason: `KubeletHas${type}`,
      message: `kubelet has no ${type} at the moment`,
    },
    ...{ lastHeartbeatTime: '2026-01-01T00:00:00Z', lastTransitionTime: '2026-01-01T00:00:00Z' },
  });
  return {
    name: `node-${index}`,
    podCIDR: `10.${64 + (high >> 4)}.${((high & 15) << 4) | (low >> 4)}.${(low & 15) << 4}/28`,
    annotations: {
      [`${F}kube-subnet-manager`]: 'true',
      [`${F}backend-type`]: 'vxlan',
      [`${F}public-ip`]: `192.${168 + (high >> 8)}.${high & 0xff}.${low}`,
      [`${F}backend-data`]: JSON.stringify({ VNI: 1, VtepMAC: mac }),
      'node.alpha.kubernetes.io/ttl': '0',
      'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
    },
    status: {
      conditions: ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map(condition),
      addresses: [{ type: 'InternalIP', address: `192.168.${high}.${low}` }],
      images: Array.from({ length: IMAGES }, (_, number) => image(number)),
      capacity: { cpu: '16', memory: '65805812Ki', pods: '110' },
    },
  };
}

/** Starts it in a process of its own. */
export async function startManyNodes(count: number): Promise<ManyNodes> {
  const child = fork(fileURLToPath(import.meta.url), [`${count}`], { execArgv: ['--import', 'tsx'] });
  const answer = async <T>() => ((await once(child, 'message')) as [T])[0];
  const ask = <T>(word: string): Promise<T> => {
    const said = answer<T>();
    child.send(word);
    return said;
  };
  const stands = await answer<Pick<ManyNodes, 'kubeconfig' | 'pod' | 'nodeBytes'>>();
  return {
    ...stands,
    change: () => ask<Changed>('change'),
    beat: () => ask<void>('beat'),
    close: () => child.disconnect(),
  };
}

async function serve(count: number): Promise<void> {
  const api = await KubeApiServer.start();
  api.ignoresLimit = process.env.KUBE_PAGES === undefined;
  for (let index = 0; index < count; index++) api.store.put(manyNode(index));
  api.store.compact();
  let changes = 0;
  process.on('message', (word) => {
    if (word === 'change') {
      const name = `node-${(++changes * 997) % count}`;
      const publicIp = `198.51.100.${1 + (changes % 250)}`;
      const at = now();
      api.store.annotate(name, { [`${F}public-ip`]: publicIp });
      process.send!({ name, publicIp, at } satisfies Changed);
    } else {
      for (let index = 0; index < count; index += 10) api.store.touch(`node-${index}`);
      process.send!('done');
    }
  });
  process.on('disconnect', () => void api.close());
  const nodeBytes = JSON.stringify(api.store.nodes.get('node-0')).length;
  process.send!({ kubeconfig: api.kubeconfig(), pod: api.pod('first-token'), nodeBytes });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await serve(Number(process.argv[2]));
