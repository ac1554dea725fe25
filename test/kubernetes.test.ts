/**
 * Leases of a Kubernetes cluster, against an API server that speaks the real protocol and does what API servers do:
 * refuse, expire, cut, go away and come back.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { VtepError } from '../src/errors.ts';
import { createKubernetesSource, type KubernetesOptions } from '../src/flannel/kubernetes.ts';
import type { Lease, LeaseSource } from '../src/flannel/lease.ts';
import { type Asked, KubeApiServer } from './support/kube-api-server.ts';
import type { NodeSeed } from './support/kube-store.ts';
import { until } from './support/own-namespace.ts';

const F = 'flannel.alpha.coreos.com/';
const SELF = { backendType: 'vxlan', publicIp: '192.0.2.1', backend: { vni: 1, mac: '0a:00:00:00:00:01' } };
const OWN = {
  [`${F}kube-subnet-manager`]: 'true',
  [`${F}backend-type`]: 'vxlan',
  [`${F}public-ip`]: '192.0.2.1',
  [`${F}backend-data`]: '{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}',
};
const CONDITION = {
  type: 'NetworkUnavailable',
  status: 'False',
  reason: 'FlannelIsUp',
  message: 'Flannel is running on this node',
};
const WAIT_MS = 15_000;

function peer(index: number, changes: Record<string, string> = {}): NodeSeed {
  const octet = index.toString(16).padStart(2, '0');
  return {
    name: `n${index}`,
    podCIDR: `10.244.${index}.0/24`,
    podCIDRs: [`10.244.${index}.0/24`],
    annotations: {
      [`${F}kube-subnet-manager`]: 'true',
      [`${F}backend-type`]: 'vxlan',
      [`${F}public-ip`]: `192.0.2.${index}`,
      [`${F}backend-data`]: `{"VNI":1,"VtepMAC":"0a:00:00:00:00:${octet}"}`,
      ...changes,
    },
  };
}

function lease(index: number, changes: Partial<Lease> = {}): Lease {
  const { annotations, name, podCIDR } = peer(index);
  const { VNI: vni, VtepMAC: mac } = JSON.parse(annotations![`${F}backend-data`]!) as {
    VNI: number;
    VtepMAC: string;
  };
  return {
    key: name,
    backendType: 'vxlan',
    subnet: podCIDR!,
    publicIp: annotations![`${F}public-ip`]!,
    backend: { vni, mac },
    ...changes,
  };
}

const isList = ({ path, query }: Asked) => path === '/api/v1/nodes' && !query.has('watch');
const isWatch = ({ query }: Asked) => query.has('watch');
const isPatch = ({ method }: Asked) => method === 'PATCH';

/** What a listener has been told, and the table that it would have made of it. */
class Told {
  readonly snapshots: (readonly Lease[])[] = [];
  readonly changes: { changed: readonly Lease[]; removed: readonly string[] }[] = [];
  readonly owns: Lease[] = [];
  readonly table = new Map<string, Lease>();

  snapshot(leases: readonly Lease[]): void {
    this.snapshots.push(leases);
    this.table.clear();
    for (const one of leases) this.table.set(one.key, one);
  }

  change(changed: readonly Lease[], removed: readonly string[]): void {
    this.changes.push({ changed, removed });
    for (const one of changed) this.table.set(one.key, one);
    for (const key of removed) this.table.delete(key);
  }

  own(one: Lease): void {
    this.owns.push(one);
  }
}

describe('leases of a Kubernetes cluster', () => {
  let api: KubeApiServer;
  let stopping: AbortController;
  let sources: LeaseSource[];
  let logged: string[];
  const following: Promise<void>[] = [];
  const { signal: never } = new AbortController();

  beforeEach(async () => {
    api = await KubeApiServer.start();
    stopping = new AbortController();
    sources = [];
    logged = [];
    netConf('{"Network":"10.244.0.0/16","SubnetLen":99,"backend":{"Type":"VXLAN"}}');
  });

  afterEach(async () => {
    stopping.abort();
    await Promise.all(following.splice(0));
    for (const source of sources) await source.close();
    await api.close();
  });

  const netConf = (text: string) => writeFileSync(join(api.directory, 'net-conf.json'), text);

  function create(options: KubernetesOptions = {}): LeaseSource {
    const source = createKubernetesSource({
      ...(options.podRoot === undefined && { kubeconfig: options.kubeconfig ?? api.kubeconfig() }),
      nodeName: 'n1',
      netConfPath: join(api.directory, 'net-conf.json'),
      environment: {},
      logger: (level, message) => logged.push(`${level} ${message}`),
      ...options,
    });
    sources.push(source);
    return source;
  }

  /** Follows and has seen the first snapshot, and watches. */
  async function follow(source: LeaseSource): Promise<Told> {
    const told = new Told();
    following.push(source.follow(told, stopping.signal));
    await until(
      'a snapshot and a watch',
      () => told.snapshots.length > 0 && source.state().connected,
      WAIT_MS,
    );
    return told;
  }

  const annotations = (name = 'n1') => api.store.nodes.get(name)!.metadata.annotations;
  const patches = () => api.asked.filter(isPatch);
  const quiet = (ms = 100) => new Promise((resolve) => setTimeout(resolve, ms));

  describe('the configuration', () => {
    it('is net-conf.json, whose Subnet* keys are ignored', async () => {
      const config = await create().config(never);
      assert.equal(config.network, '10.244.0.0/16');
      assert.equal(config.subnetMin, undefined);
      assert.equal(config.backend.vni, 1);
    });

    it('that isn’t there or can’t be right is refused with the remedy', async () => {
      await assert.rejects(create({ netConfPath: '/nonexistent/net-conf.json' }).config(never), (error) => {
        return (
          error instanceof VtepError &&
          error.code === 'USAGE' &&
          /net-conf.json.*kube-flannel-cfg/.test(error.message)
        );
      });
      netConf('{"Network":"10.244.0.0/16"}');
      await assert.rejects(create().config(never), /net-conf.json: Backend is missing/);
    });

    it('knows where the API server is, or says what is missing', async () => {
      const source = create();
      await source.config(never);
      assert.equal(source.state().where, api.url);
      const options = { netConfPath: join(api.directory, 'net-conf.json'), nodeName: 'n1', environment: {} };
      await assert.rejects(
        createKubernetesSource(options).config(never),
        /no API server is known: give --kubeconfig-file/,
      );
      const kubeconfig = '/nonexistent/kubeconfig';
      await assert.rejects(
        createKubernetesSource({ ...options, kubeconfig }).config(never),
        /kubeconfig \/nonexistent/,
      );
    });

    it('says how to install the client library', async () => {
      const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
      await assert.rejects(create({ load: () => Promise.reject(missing) }).config(never), (error) => {
        return (
          error instanceof VtepError &&
          error.code === 'UNSUPPORTED' &&
          error.message.endsWith('npm install @kubernetes/client-node')
        );
      });
    });

    it('refuses a prefix that no annotation can have', () => {
      assert.throws(
        () => createKubernetesSource({ annotationPrefix: 'a/b/c' }),
        /kube-annotation-prefix "a\/b\/c"/,
      );
    });
  });

  describe('our own node', () => {
    it('is annotated under its podCIDR, to the byte, and says that its network is there once the others are known', async () => {
      api.store.put({ name: 'n1', podCIDR: '10.244.1.0/24', annotations: { other: 'x' } });
      api.store.touch('n1');
      const source = create();
      assert.deepEqual(await source.acquire(SELF, {}, never), {
        key: 'n1',
        ...SELF,
        subnet: '10.244.1.0/24',
      });
      assert.deepEqual(annotations(), { other: 'x', ...OWN });
      assert.equal(patches()[0]!.path, '/api/v1/nodes/n1/status');
      const conditions = () => api.store.nodes.get('n1')!.status.conditions!;
      assert.deepEqual(
        conditions().map(({ type }) => type),
        ['Ready'],
      );
      await follow(source);
      await until('the condition', () => conditions().length === 2, WAIT_MS);
      const { lastHeartbeatTime, lastTransitionTime, ...said } = conditions()[1] as typeof CONDITION &
        Record<string, string>;
      assert.deepEqual(said, CONDITION);
      assert.match(`${lastHeartbeatTime} ${lastTransitionTime}`, /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ?){2}$/);
      await quiet();
      assert.equal(patches().length, 2);
    });

    it('keeps its condition where that isn’t wanted', async () => {
      api.store.put(peer(1));
      const source = create({ setNodeNetworkUnavailable: false });
      await source.acquire(SELF, {}, never);
      await follow(source);
      await quiet();
      assert.equal(patches().length, 0, 'all annotations stood there already');
    });

    it('waits for its podCIDR, says so, and is annotated after', async () => {
      api.store.put({ name: 'n1' });
      const source = create();
      const acquired = source.acquire(SELF, {}, never);
      await until(
        'the state',
        () => /n1 has no podCIDR yet.*--cluster-cidr/.test(source.state().error ?? ''),
        WAIT_MS,
      );
      assert.deepEqual(annotations(), {});
      api.store.assign('n1', ['10.244.1.0/24']);
      assert.equal((await acquired).subnet, '10.244.1.0/24');
      assert.deepEqual(annotations(), OWN);
      assert.equal(source.state().error, undefined);
      assert.equal(logged.filter((line) => line.includes('podCIDR')).length, 1);
    });

    it('gives up waiting with the signal', async () => {
      api.store.put({ name: 'n1' });
      const waiting = new AbortController();
      const acquired = create().acquire(SELF, {}, waiting.signal);
      setTimeout(() => waiting.abort(new Error('enough')), 50);
      await assert.rejects(acquired, /enough/);
    });

    it('whose podCIDR lies outside the network is refused', async () => {
      api.store.put({ name: 'n1', podCIDR: '10.9.1.0/24' });
      await assert.rejects(create().acquire(SELF, {}, never), (error) => {
        return (
          error instanceof VtepError &&
          error.code === 'USAGE' &&
          /node n1: podCIDR 10.9.1.0\/24 is not inside the network 10.244.0.0\/16: .*--cluster-cidr/.test(
            error.message,
          )
        );
      });
      assert.deepEqual(annotations(), {});
    });

    it('of two families publishes both; of the family that it has a subnet of, one', async () => {
      netConf(
        '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan"}}',
      );
      const both = { ...SELF, publicIpV6: '2001:db8::1', backendV6: { vni: 1, mac: '0a:00:00:00:00:02' } };
      api.store.put({ name: 'n1', podCIDRs: ['fd00:0:0:1::/64', '10.244.1.0/24'] });
      const whole = await create().acquire(both, {}, never);
      assert.deepEqual(whole, { key: 'n1', ...both, subnet: '10.244.1.0/24', subnetV6: 'fd00:0:0:1::/64' });
      assert.equal(annotations()[`${F}backend-v6-data`], '{"VNI":1,"VtepMAC":"0a:00:00:00:00:02"}');
      api.store.put({ name: 'n2', podCIDRs: ['10.244.2.0/24'] });
      const part = await create({ nodeName: 'n2' }).acquire(both, {}, never);
      assert.deepEqual(part, { key: 'n2', ...SELF, subnet: '10.244.2.0/24' });
      assert.deepEqual(annotations('n2'), OWN);
      api.store.put({ name: 'n3', podCIDRs: ['fd00:0:0:3::/64'] });
      await assert.rejects(
        create({ nodeName: 'n3' }).acquire(SELF, {}, never),
        /fd00:0:0:3::\/64 are of no family/,
      );
    });

    it('holds what it was, and what the administrator wants', async () => {
      api.store.put(peer(1, { [`${F}node-public-ip`]: '198.51.100.7' }));
      const { backendType, publicIp, backend } = SELF;
      assert.deepEqual(await create().stored(never), {
        ...{ backendType, publicIp, backend, subnet: '10.244.1.0/24', wantedPublicIp: '198.51.100.7' },
      });
    });

    it('publishes what has changed of it, later where it can’t be now', async () => {
      api.store.put(peer(1));
      const source = create();
      await source.acquire(SELF, {}, never);
      api.refuse(500, isPatch, 2);
      source.publish({ ...SELF, publicIp: '192.0.2.99' });
      await until(
        'the refusal',
        () => /500 InternalError: .*on purpose/.test(source.state().error ?? ''),
        WAIT_MS,
      );
      await until('the address', () => annotations()[`${F}public-ip`] === '192.0.2.99', WAIT_MS);
      await until('no error', () => source.state().error === undefined, WAIT_MS);
    });

    it('publishes the administrator’s address in the place of its own, now and when it is set later', async () => {
      api.store.put(peer(1, { [`${F}public-ip-overwrite`]: '203.0.113.5' }));
      const source = create();
      assert.equal((await source.acquire(SELF, {}, never)).publicIp, '192.0.2.1');
      assert.equal(annotations()[`${F}public-ip`], '203.0.113.5');
      await follow(source);
      api.store.annotate('n1', { [`${F}public-ip-overwrite`]: '203.0.113.6' });
      await until('the other', () => annotations()[`${F}public-ip`] === '203.0.113.6', WAIT_MS);
    });

    it('puts back what somebody has taken off, and not again and again without a pause', async () => {
      api.store.put(peer(1));
      const source = create({ setNodeNetworkUnavailable: false });
      await source.acquire(SELF, {}, never);
      await follow(source);
      api.store.annotate('n1', Object.fromEntries(Object.keys(OWN).map((name) => [name, null])));
      await until('them', () => Object.keys(annotations()).length === 4, WAIT_MS);
      assert.deepEqual(annotations(), OWN);
      const before = patches().length;
      for (let times = 0; times < 20; times++) {
        api.store.annotate('n1', { [`${F}public-ip`]: '1.2.3.4' });
        await quiet(25);
      }
      assert.ok(patches().length - before <= 2, `${patches().length - before} patches in half a second`);
      await until('it again', () => annotations()[`${F}public-ip`] === '192.0.2.1', WAIT_MS);
    });

    it('that was deleted and made again is annotated again, and its new subnet told', async () => {
      api.store.put(peer(1));
      const source = create();
      await source.acquire(SELF, {}, never);
      const told = await follow(source);
      await until('the condition', () => api.store.nodes.get('n1')!.status.conditions !== undefined, WAIT_MS);
      api.store.delete('n1');
      api.store.put({ name: 'n1' });
      await quiet();
      assert.deepEqual(annotations(), {});
      api.store.assign('n1', ['10.244.77.0/24']);
      await until('our lease', () => told.owns.length > 0, WAIT_MS);
      assert.deepEqual(told.owns, [{ key: 'n1', ...SELF, subnet: '10.244.77.0/24' }]);
      await until('annotations', () => annotations()[`${F}public-ip`] === '192.0.2.1', WAIT_MS);
      assert.deepEqual(annotations(), OWN);
      assert.equal(api.store.nodes.get('n1')!.status.conditions![0]!.type, 'NetworkUnavailable');
      assert.equal(source.state().counters.reacquired, 1);
    });

    it('whose podCIDR becomes one outside the network is left as it was, and says so', async () => {
      api.store.put(peer(1));
      const source = create();
      await source.acquire(SELF, {}, never);
      const told = await follow(source);
      api.store.assign('n1', ['10.9.1.0/24']);
      await until('the state', () => /10.9.1.0\/24 is not inside/.test(source.state().error ?? ''), WAIT_MS);
      source.publish({ ...SELF, publicIp: '192.0.2.99' });
      await quiet();
      assert.deepEqual(told.owns, []);
      assert.equal(annotations()[`${F}public-ip`], '192.0.2.1');
    });

    it('is the one of our pod where nothing names it', async () => {
      const environment = { POD_NAME: 'vxlane-x', POD_NAMESPACE: 'kube-flannel' };
      const { nodeName: _, ...unnamed } = { nodeName: '', environment };
      api.store.put(peer(1));
      api.pods.set('/api/v1/namespaces/kube-flannel/pods/vxlane-x', { spec: { nodeName: 'n1' } });
      assert.equal((await create({ nodeName: '', ...unnamed }).acquire(SELF, {}, never)).key, 'n1');
      assert.equal(
        (await create({ nodeName: '', environment: { NODE_NAME: 'n1' } }).acquire(SELF, {}, never)).key,
        'n1',
      );
      await assert.rejects(
        create({ nodeName: '' }).acquire(SELF, {}, never),
        /set NODE_NAME, or POD_NAME and POD_NAMESPACE/,
      );
    });
  });

  describe('the others', () => {
    it('come as a snapshot without us, then as changes', async () => {
      for (const index of [1, 2, 3]) api.store.put(peer(index));
      api.store.put({ name: 'control-plane' });
      const told = await follow(create());
      assert.deepEqual(told.snapshots, [[lease(2), lease(3)]]);
      api.store.put(peer(4));
      api.store.annotate('n2', { [`${F}public-ip`]: '192.0.2.222' });
      api.store.delete('n3');
      await until('all', () => told.table.size === 2 && told.table.has('n4'), WAIT_MS);
      assert.deepEqual([...told.table.values()], [lease(2, { publicIp: '192.0.2.222' }), lease(4)]);
      assert.equal(told.snapshots.length, 1);
    });

    it('are told of when one attribute of one family changes, and of nothing else', async () => {
      netConf(
        '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan"}}',
      );
      const v6 = {
        [`${F}public-ipv6`]: '2001:db8::2',
        [`${F}backend-v6-data`]: '{"VNI":1,"VtepMAC":"0a:00:00:00:06:02"}',
      };
      const seed = { ...peer(2, v6), podCIDRs: ['10.244.2.0/24', 'fd00:0:0:2::/64'] };
      api.store.put(seed);
      const told = await follow(create());
      const steps: [Record<string, string>, Partial<Lease>][] = [
        [{ [`${F}public-ip`]: '192.0.2.20' }, { publicIp: '192.0.2.20' }],
        [
          { [`${F}backend-data`]: '{"VNI":1,"VtepMAC":"0a:00:00:00:00:99"}' },
          { backend: { vni: 1, mac: '0a:00:00:00:00:99' } },
        ],
        [
          { [`${F}backend-data`]: '{"VNI":2,"VtepMAC":"0a:00:00:00:00:99"}' },
          { backend: { vni: 2, mac: '0a:00:00:00:00:99' } },
        ],
        [{ [`${F}public-ipv6`]: '2001:db8::20' }, { publicIpV6: '2001:db8::20' }],
        [
          { [`${F}backend-v6-data`]: '{"VNI":1,"VtepMAC":"0a:00:00:00:06:99"}' },
          { backendV6: { vni: 1, mac: '0a:00:00:00:06:99' } },
        ],
      ];
      let expected = told.snapshots[0]![0]!;
      for (const [index, [patch, changes]] of steps.entries()) {
        for (let times = 0; times < 5; times++) api.store.touch('n2');
        api.store.annotate('n2', patch);
        api.store.touch('n2');
        await until('the change', () => told.changes.length > index, WAIT_MS);
        expected = { ...expected, ...changes };
        assert.deepEqual(told.changes[index], { changed: [expected], removed: [] });
      }
      for (let times = 0; times < 50; times++) api.store.touch('n2');
      api.store.assign('n2', ['10.244.22.0/24', 'fd00:0:0:2::/64']);
      await until('the subnet', () => told.changes.length > steps.length, WAIT_MS);
      assert.deepEqual(told.changes.slice(steps.length), [
        { changed: [{ ...expected, subnet: '10.244.22.0/24' }], removed: [] },
      ]);
    });

    it('that get their podCIDR late are there when they have it', async () => {
      const { name, annotations: given } = peer(2);
      api.store.put({ name, annotations: given! });
      const source = create();
      const told = await follow(source);
      assert.deepEqual(told.snapshots, [[]]);
      assert.deepEqual(source.state().skipped, [{ key: 'n2', reason: 'spec.podCIDRs has no IPv4 subnet' }]);
      api.store.assign('n2', ['10.244.2.0/24']);
      await until('it', () => told.table.has('n2'), WAIT_MS);
      assert.deepEqual(source.state().skipped, []);
    });

    it('of no use are skipped, counted and shown; whoever becomes so is gone', async () => {
      api.store.put(peer(2, { [`${F}backend-data`]: '{"VNI":1,"VtepMAC":"xx"}' }));
      api.store.put(peer(3));
      api.store.put(peer(4));
      const source = create();
      const told = await follow(source);
      assert.deepEqual([...told.table.keys()], ['n3', 'n4']);
      assert.deepEqual(
        source.state().skipped.map(({ key }) => key),
        ['n2'],
      );
      assert.match(source.state().skipped[0]!.reason, /backend-data.VtepMAC "xx"/);
      assert.equal(source.state().counters.malformed, 1);
      api.store.touch('n2');
      api.store.annotate('n3', { [`${F}public-ip`]: 'nowhere' });
      api.store.annotate('n4', { [`${F}kube-subnet-manager`]: null });
      await until('them gone', () => told.table.size === 0, WAIT_MS);
      assert.deepEqual(
        told.changes.flatMap(({ removed }) => removed),
        ['n3', 'n4'],
      );
      assert.deepEqual(
        source.state().skipped.map(({ key }) => key),
        ['n2', 'n3'],
      );
      assert.equal(source.state().counters.malformed, 2);
      api.store.delete('n3');
      api.store.put(peer(2));
      await until('n2', () => told.table.has('n2'), WAIT_MS);
      assert.deepEqual(source.state().skipped, []);
    });

    it('come in pages, in pieces, all at once and compressed', async () => {
      for (let index = 1; index <= 100; index++) api.store.put(peer(index));
      const all = Array.from({ length: 99 }, (_, index) => lease(index + 2));
      const byKey = (leases: readonly Lease[]) =>
        [...leases].sort((a, b) => Number(a.key.slice(1)) - Number(b.key.slice(1)));
      api.pageNodes = 7;
      const paged = await follow(create());
      assert.deepEqual(byKey(paged.snapshots[0]!), all);
      assert.equal(api.asked.filter(isList).length, 15);
      api.pageNodes = Number.POSITIVE_INFINITY;
      api.ignoresLimit = true;
      api.pieceBytes = 13;
      const whole = await follow(create());
      assert.deepEqual(byKey(whole.snapshots[0]!), all);
      api.compresses = true;
      const compressed = await follow(create());
      assert.deepEqual(byKey(compressed.snapshots[0]!), all);
      api.store.annotate('n50', { [`${F}public-ip`]: '192.0.2.250' });
      await until(
        'a change',
        () => [paged, whole, compressed].every(({ changes }) => changes.length === 1),
        WAIT_MS,
      );
      assert.deepEqual(whole.changes[0]!.changed, [lease(50, { publicIp: '192.0.2.250' })]);
    });

    it('are told of under another prefix', async () => {
      const told = new Told();
      api.store.put({
        ...peer(2),
        annotations: Object.fromEntries(
          Object.entries(peer(2).annotations!).map(([name, value]) => [
            name.replace(F, 'example.org/second-'),
            value,
          ]),
        ),
      });
      api.store.put(peer(3));
      following.push(create({ annotationPrefix: 'example.org/second' }).follow(told, stopping.signal));
      await until('a snapshot', () => told.snapshots.length > 0, WAIT_MS);
      assert.deepEqual(told.snapshots, [[lease(2)]]);
    });

    it('come again as a snapshot at an interval', async () => {
      api.store.put(peer(2));
      const told = await follow(create({ resyncMs: 50 }));
      await until('three', () => told.snapshots.length >= 3, WAIT_MS);
      assert.deepEqual(told.snapshots[2], [lease(2)]);
      assert.equal(api.asked.filter(isList).length, 1);
    });
  });

  describe('the connection', () => {
    it('goes on where a watch has ended, with the version of a bookmark', async () => {
      api.store.put(peer(2));
      const told = await follow(create());
      for (let times = 0; times < 3; times++) api.store.touch('n1000') ?? api.store.put({ name: 'n1000' });
      api.bookmark();
      await quiet(20);
      const { version } = api.store;
      api.store.compact();
      api.endWatches();
      await until(
        'another watch',
        () => api.asked.filter(isWatch).length === 2 && api.watches === 1,
        WAIT_MS,
      );
      assert.equal(api.asked.findLast(isWatch)!.query.get('resourceVersion'), `${version}`);
      assert.equal(api.asked.findLast(isWatch)!.query.get('allowWatchBookmarks'), 'true');
      api.store.put(peer(3));
      await until('a change', () => told.table.has('n3'), WAIT_MS);
      assert.equal(api.asked.filter(isList).length, 1);
      assert.equal(told.snapshots.length, 1);
    });

    it('lists again after 410 Gone, as an event and as an answer, and what was missed comes as a snapshot', async () => {
      for (const index of [2, 3]) api.store.put(peer(index));
      const source = create();
      const told = await follow(source);
      api.expireWatches();
      await until('a second list', () => told.snapshots.length === 2 && api.watches === 1, WAIT_MS);
      assert.equal(api.asked.findLast(isList)!.query.get('resourceVersion'), null);
      await api.leave();
      api.store.delete('n2');
      api.store.put(peer(4));
      api.store.compact();
      await api.listen();
      await until('a third', () => told.snapshots.length === 3, WAIT_MS);
      assert.deepEqual(told.snapshots[2], [lease(3), lease(4)]);
      assert.equal(source.state().counters.resyncs, 2);
      assert.deepEqual(told.changes, []);
    });

    it('begins a list anew whose pages have expired', async () => {
      for (let index = 2; index <= 9; index++) api.store.put(peer(index));
      api.pageNodes = 3;
      api.refuse(410, ({ query }) => query.has('continue'));
      const told = await follow(create());
      assert.equal(told.snapshots.length, 1);
      assert.equal(told.snapshots[0]!.length, 8);
    });

    it('that is cut in the middle of a word comes back, and nothing is lost or told twice', async () => {
      for (let index = 2; index <= 6; index++) api.store.put(peer(index));
      const told = await follow(create());
      for (let index = 2; index <= 4; index++) {
        api.say('{"type":"MODIFIED","object":{"kind":"No'.slice(0, 10 * index));
        api.cut();
        api.store.annotate(`n${index}`, { [`${F}public-ip`]: `192.0.2.1${index}` });
        await until('the change', () => told.changes.length === index - 1, WAIT_MS);
        await until('a watch', () => api.watches === 1, WAIT_MS);
      }
      assert.equal(told.snapshots.length + told.changes.length, 4);
    });

    it('that speaks no JSON is left for another, with a new list', async () => {
      api.store.put(peer(2));
      const source = create();
      const told = await follow(source);
      api.say('<html>bad gateway</html>');
      await until('a second list', () => told.snapshots.length === 2 && api.watches === 1, WAIT_MS);
    });

    it('is a state while the API server is away: what was known stays, and it comes back', async () => {
      api.store.put(peer(1));
      api.store.put(peer(2));
      const source = create();
      await source.acquire(SELF, {}, never);
      const told = await follow(source);
      assert.equal(source.state().error, undefined);
      await api.leave();
      await until('the state', () => /ECONNREFUSED/.test(source.state().error ?? ''), WAIT_MS);
      assert.equal(source.state().connected, false);
      assert.equal(source.state().synced, true);
      assert.equal(told.table.size, 1);
      source.publish({ ...SELF, publicIp: '192.0.2.99' });
      await quiet(500);
      const tries = logged.filter((line) => line.includes('ECONNREFUSED')).length;
      assert.ok(tries <= 2, `${tries} lines of the same`);
      await api.listen();
      await until('connected', () => source.state().connected, WAIT_MS);
      assert.equal(source.state().counters.reconnects, 1);
      await until('what is new of us', () => annotations()[`${F}public-ip`] === '192.0.2.99', 2 * WAIT_MS);
      // What could not be published says so until it is.
      await until('no error', () => source.state().error === undefined, WAIT_MS);
      assert.equal(told.snapshots.length, 1);
    });

    it('waits for an API server that isn’t there yet', async () => {
      const kubeconfig = api.kubeconfig();
      await api.leave();
      const source = create({ kubeconfig });
      const acquired = source.acquire(SELF, {}, never);
      await until('the state', () => /ECONNREFUSED/.test(source.state().error ?? ''), WAIT_MS);
      api.store.put({ name: 'n1', podCIDR: '10.244.1.0/24' });
      await api.listen();
      assert.equal((await acquired).subnet, '10.244.1.0/24');
    });

    for (const [status, said] of [
      [401, /401 Unauthorized: .*the credentials were refused/],
      [403, /403 Forbidden: .*the ClusterRole needs get, list and watch on nodes/],
      [404, /404 NotFound: .*on purpose/],
      [500, /500 InternalError: .*on purpose/],
    ] as const) {
      it(`is refused with ${status}: says why and tries again`, async () => {
        api.store.put(peer(2));
        api.refuse(status, isList, 2);
        const source = create();
        const told = new Told();
        following.push(source.follow(told, stopping.signal));
        await until('the state', () => said.test(source.state().error ?? ''), WAIT_MS);
        assert.equal(source.state().connected, false);
        assert.equal(source.state().synced, false);
        await until('a snapshot', () => told.snapshots.length === 1 && source.state().connected, WAIT_MS);
        assert.equal(source.state().error, undefined);
      });
    }

    it('of a node that nobody knows says where its name comes from', async () => {
      const source = create();
      const acquired = source.acquire(SELF, {}, stopping.signal);
      await until('the state', () => /404 NotFound: .*NODE_NAME/.test(source.state().error ?? ''), WAIT_MS);
      stopping.abort(new Error('enough'));
      await assert.rejects(acquired, /enough/);
    });

    it('reads a pod’s token again when it has been rotated', async () => {
      const { podRoot, environment } = api.pod('first-token');
      api.store.put(peer(1));
      const load = () => Promise.reject(new Error('no library is needed in a pod'));
      const source = create({ podRoot, environment, load });
      await source.acquire(SELF, {}, never);
      const told = await follow(source);
      assert.equal(source.state().where, api.url);
      api.tokens.delete('first-token');
      api.tokens.add('second-token');
      api.pod('second-token');
      api.cut();
      api.store.put(peer(2));
      await until('a change', () => told.table.has('n2'), WAIT_MS);
      source.publish({ ...SELF, publicIp: '192.0.2.99' });
      await until('our address', () => annotations()[`${F}public-ip`] === '192.0.2.99', WAIT_MS);
    });

    it('shows the token that a kubeconfig’s program gives', async () => {
      const credential = {
        apiVersion: 'client.authentication.k8s.io/v1',
        kind: 'ExecCredential',
        status: { token: 'third-token' },
      };
      const args = ['-e', `console.log(${JSON.stringify(JSON.stringify(credential))})`];
      const kubeconfig = api.kubeconfig({
        exec: { apiVersion: credential.apiVersion, command: process.execPath, args },
      });
      api.store.put(peer(1));
      const acquired = create({ kubeconfig }).acquire(SELF, {}, never);
      await until('a refusal', () => logged.some((line) => line.includes('401 Unauthorized')), WAIT_MS);
      api.tokens.add('third-token');
      assert.equal((await acquired).subnet, '10.244.1.0/24');
    });

    it('is not made to a server of another certificate', async () => {
      const other = await KubeApiServer.start();
      try {
        const source = create({ apiUrl: other.url });
        following.push(source.follow(new Told(), stopping.signal));
        await until('the state', () => /certificate/.test(source.state().error ?? ''), WAIT_MS);
        assert.equal(source.state().where, other.url);
        assert.equal(other.asked.length, 0);
      } finally {
        await other.close();
      }
    });

    it('ends with the signal, whatever it is at', async () => {
      const source = create();
      const ending = new AbortController();
      const done = source.follow(new Told(), ending.signal);
      await until('a watch', () => api.watches === 1, WAIT_MS);
      ending.abort();
      await done;
      await until('no watch', () => api.watches === 0, WAIT_MS);
      const aborted = AbortSignal.abort();
      await source.follow(new Told(), aborted);
    });
  });
});
