/**
 * The same commands to the kernel's device (`bridge vni`) and to ours: same refusals in the same words, same VNIs,
 * same default destinations. Left out is what differs on purpose (src/dataplane/vnis.ts says what and why).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { vniObjects } from '../src/cli/vni-format.ts';
import { vniList } from '../src/daemon/vni-schema.ts';
import type { VtepError } from '../src/errors.ts';
import { loadEngine } from './support/engine.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces, type Namespace } from './support/netns.ts';
import { LINK, VniFixture } from './support/vni-fixture.ts';

const missing = missingForNamespaces() ?? missingForKernelVxlan();
const skip = missing !== null && !process.env.CI ? missing : false;
const DEVICES = ['vx1', 'vx2', 'vx3'] as const;
const COMMANDS = 120;

let bed: Bed;
let host: Namespace;
let at: VniFixture;
before(async () => {
  if (missing !== null) return;
  bed = new Bed();
  host = bed.namespace('vni');
  const type = 'type vxlan external';
  host.ip(
    'link add v3 type veth peer name v4',
    `link add vx1 ${type} vnifilter dstport 4789 dev v3`,
    `link add vx2 ${type} vnifilter dstport 4789`,
    `link add vx3 ${type} vnifilter dstport 8472 dev v3`,
    `link add vx4 ${type} dstport 4799`,
  );
  at = new VniFixture(await loadEngine('release'));
});
after(() => bed?.close());

interface Change {
  op: 'add' | 'del';
  dev: string;
  list: string;
  remote?: string;
  group?: string;
}

/** The kernel's sentence, "" when it agreed. */
function kernel({ op, dev, list, remote, group }: Change): string {
  const to = remote ? ['remote', remote] : group ? ['group', group] : [];
  // bridge 6.1 knows "delete" only.
  const words = ['vni', op === 'del' ? 'delete' : op, 'vni', list, ...to, 'dev', dev];
  const { status, stderr } = spawnSync('bridge', ['-n', host.name, ...words], { encoding: 'utf8' });
  if (status === 0) return '';
  assert.equal(status, 255);
  return stderr.trim().replace(/^(Error|RTNETLINK answers): /, '');
}

function ours({ op, dev, list, remote, group }: Change): string {
  try {
    at.vnis.apply({ op, dev, vni: vniList(list), ...(remote && { remote }), ...(group && { group }) });
    return '';
  } catch (error) {
    assert.equal((error as Error).name, 'VtepError', String(error));
    return (error as VtepError).message;
  }
}

function both(change: Change): void {
  const wanted = kernel(change);
  const got = ours(change);
  assert.equal(got === '', wanted === '', `${JSON.stringify(change)}: kernel "${wanted}", ours "${got}"`);
  assert.ok(got.includes(wanted), `${JSON.stringify(change)}: kernel "${wanted}", ours "${got}"`);
  compare();
}

interface KernelEntry {
  mac: string;
  dst: string;
  vni?: number;
  src_vni?: number;
  viaIf?: string;
}

/** Undefined keys are no keys. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;

function compare(): void {
  const shown = spawnSync('bridge', ['-n', host.name, '-j', 'vni', 'show'], { encoding: 'utf8' });
  const listed = at.vnis.show().filter((entry) => entry.listed);
  const kernels = JSON.parse(shown.stdout) as { ifname: string }[];
  kernels.sort((one, other) => (one.ifname < other.ifname ? -1 : 1));
  assert.deepEqual(plain(vniObjects(listed, false)), kernels);
  for (const dev of DEVICES) {
    const { stdout } = spawnSync('bridge', ['-n', host.name, '-j', 'fdb', 'show', 'dev', dev], {
      encoding: 'utf8',
    });
    const line = ({ mac, dst, vni, src_vni, viaIf }: KernelEntry) =>
      [mac, dst, vni, src_vni, viaIf].join(' ');
    const entries = (JSON.parse(stdout) as KernelEntry[]).filter(({ src_vni }) => src_vni !== undefined);
    const known = at.fdb.show(dev).filter(({ src_vni }) => src_vni !== undefined);
    assert.deepEqual(known.map((entry) => line(entry as KernelEntry)).sort(), entries.map(line).sort());
  }
}

test('each refusal', { skip }, () => {
  both({ op: 'add', dev: 'vx1', list: '100,200-205' });
  both({ op: 'add', dev: 'vx1', list: '300', remote: '192.0.2.2' });
  both({ op: 'add', dev: 'vx1', list: '301-303', group: '239.1.1.1' });
  both({ op: 'add', dev: 'vx1', list: '9-5' });
  both({ op: 'del', dev: 'vx1', list: '9-5' });
  both({ op: 'add', dev: 'vx1', list: '0' });
  both({ op: 'del', dev: 'vx1', list: '0' });
  both({ op: 'del', dev: 'vx1', list: '999' });
  both({ op: 'add', dev: 'vx2', list: '100' });
  both({ op: 'add', dev: 'vx3', list: '100' });
  both({ op: 'add', dev: 'vx2', list: '400', group: '239.1.1.2' });
  both({ op: 'add', dev: 'vx4', list: '400' });
  both({ op: 'del', dev: 'vx4', list: '400' });
  both({ op: 'add', dev: 'vx9', list: '400' });
  both({ op: 'add', dev: 'vx1', list: '20,30-' });
  both({ op: 'add', dev: 'vx1', list: '21,,22' });
  both({ op: 'del', dev: 'vx1', list: '20-22,30,100,200-205,300-303'.replace('20-22', '20,21,22') });
  both({ op: 'del', dev: 'vx3', list: '100' });
});

test('FDB entries before and after their VNI', { skip }, () => {
  const change = (op: 'add' | 'del', src_vni: number) => {
    const mac = '02:00:00:00:00:77';
    host.run('bridge', 'fdb', op, mac, 'dev', 'vx1', 'dst', '192.0.2.9', 'src_vni', String(src_vni));
    at.fdb.apply({ op, dev: 'vx1', mac, dst: '192.0.2.9', src_vni });
    compare();
  };
  change('add', 777);
  both({ op: 'add', dev: 'vx1', list: '777', remote: '192.0.2.5' });
  both({ op: 'del', dev: 'vx1', list: '777' });
  both({ op: 'add', dev: 'vx1', list: '778' });
  change('add', 778);
  both({ op: 'del', dev: 'vx1', list: '778' });
  change('del', 777);
  change('del', 778);
});

test('any commands', { skip }, () => {
  const vni = fc.integer({ min: 1, max: 8 });
  const change = fc.record({
    op: fc.constantFrom('add' as const, 'add' as const, 'del' as const),
    dev: fc.constantFrom(...DEVICES),
    first: vni,
    more: fc.constantFrom(0, 0, 1, 3),
    to: fc.constantFrom({}, {}, { remote: '192.0.2.2' }, { remote: '192.0.2.3' }, { group: '239.1.1.1' }),
    // Now and then the device's own destination is changed instead.
    remote: fc.constantFrom(...new Array<undefined>(9).fill(undefined), '192.0.2.6', '192.0.2.7'),
  });
  let done = 0;
  for (const { op, dev, first, more, to, remote } of fc.sample(change, COMMANDS)) {
    if (remote !== undefined) {
      host.ip(`link set ${dev} type vxlan remote ${remote}`);
      at.vnis.setRemote(DEVICES.indexOf(dev) + 1, { address: remote, ifindex: dev === 'vx2' ? 0 : LINK });
      compare();
      continue;
    }
    if (differs(op, dev, first, first + more, to)) continue;
    both({ op, dev, list: more === 0 ? `${first}` : `${first}-${first + more}`, ...to });
    done++;
  }
  assert.ok(done > COMMANDS / 4, `${done} commands`);
});

/** Whether a command is one where the kernel leaves a range half done, or an old destination where it was. */
function differs(
  op: string,
  dev: string,
  first: number,
  last: number,
  to: { remote?: string; group?: string },
): boolean {
  const inside = at.vnis.show().filter((entry) => entry.vni >= first && entry.vni <= last);
  const mine = inside.filter(({ ifname }) => ifname === dev);
  const count = last - first + 1;
  if (op === 'del') return mine.length > 0 && mine.length < count;
  const other = dev === 'vx1' ? 'vx2' : 'vx1';
  if (dev !== 'vx3' && inside.some(({ ifname }) => ifname === other)) return count > 1;
  const own = to.remote ?? to.group;
  if (own !== undefined && dev === 'vx2' && to.group) return false;
  return mine.some((entry) => (entry.remote ?? entry.group) !== own);
}
