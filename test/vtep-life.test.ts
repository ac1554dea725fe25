/**
 * A device's life beside the kernel's: ports, groups and tables come and go with the TAP's state, whoever changes
 * that; what is refused is refused with the kernel's words and leaves nothing behind.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import type { VtepErrorCode } from '../src/errors.ts';
import type { DeviceChange, DeviceConfig, Vtep, VtepEvent } from '../src/types.ts';
import { AS_GIVEN } from '../src/vtep/readers.ts';
import { createVtep } from '../src/vtep/vtep.ts';
import { deviceConfig } from './support/device-config.ts';
import { features } from './support/ethtool.ts';
import {
  Bed,
  missingForKernelVxlan,
  missingForNamespaces,
  missingForTap,
  type Namespace,
} from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';

const AT_ONCE_MS = 200;
const missing = missingForNamespaces() ?? missingForTap();
const hasKernel = missing === null && missingForKernelVxlan() === null;

/** UDP ports of this namespace that are bound to an address, as `0.0.0.0:4789`. */
function ports(): string[] {
  const rows = (file: string) => readFileSync(file, 'utf8').trim().split('\n').slice(1);
  const found = (file: string) =>
    rows(file).map((row) => {
      const [address, port] = row.trim().split(/\s+/)[1]!.split(':');
      return `${address}:${Number.parseInt(port!, 16)}`;
    });
  return [...found('/proc/self/net/udp'), ...found('/proc/self/net/udp6')];
}

const isOpen = (port: number) => ports().some((one) => one.endsWith(`:${port}`));
const descriptors = () => readdirSync('/proc/self/fd').length;

describe('the life of a device', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  const log: string[] = [];
  const events: VtepEvent[] = [];
  let here: Namespace;
  let far: Namespace;
  let vtep: Vtep;

  before(async () => {
    here = bed.namespace('life');
    far = bed.namespace('far');
    enter(here);
    here.sysctl({ 'net.ipv6.conf.default.accept_dad': 0 });
    // The VTEP's own refusals: nobody has looked at the requests before.
    vtep = await createVtep({ logger: (level, message) => log.push(`${level}: ${message}`) }, AS_GIVEN);
    vtep.subscribe((event) => events.push(event));
  });
  after(async () => {
    await vtep?.close();
    await bed.close();
  });
  afterEach(async () => {
    // In its turn: what was under way has ended then.
    await assert.rejects(vtep.deleteDevice('nobody'), { code: 'NOT_FOUND' });
    for (const { config } of vtep.devices()) await vtep.deleteDevice(config.name);
    for (const link of here.ipJson('link', 'show')) {
      if (
        link.ifname !== 'lo' &&
        here.ipJson('link', 'show').some((one: { ifname: string }) => one.ifname === link.ifname)
      ) {
        here.ip(`link del ${link.ifname}`);
      }
    }
    log.length = 0;
    events.length = 0;
  });

  const underlay = () =>
    here.ip(
      `link add u0 mtu 1500 type veth peer name u1`,
      'addr add 192.0.2.1/24 dev u0',
      'addr add 2001:db8::1/64 dev u0 nodad',
      'link set u0 up',
      'link set u1 up',
    );
  const add = (differences: Partial<DeviceConfig> = {}) => vtep.addDevice(deviceConfig(differences));
  /** Without what changes by itself. */
  const entries = () => vtep.fdbShow().map(({ used: _, updated: __, ...entry }) => entry);
  const device = (name = 'vx0') => vtep.devices().find(({ config }) => config.name === name);
  const flags = (name: string): string[] => here.ipJson('link', 'show', name)[0].flags;

  describe('ports', () => {
    it('open at up and close at down, by our own words', async () => {
      await add();
      assert.equal(isOpen(4789), false);
      const up = await vtep.setDevice('vx0', { up: true });
      assert.equal(up.up, true);
      assert.ok(flags('vx0').includes('UP'));
      assert.ok(ports().includes('00000000:4789'));
      assert.deepEqual(vtep.status().listeners, [{ family: 'inet', port: 4789, devices: ['vx0'] }]);
      const down = await vtep.setDevice('vx0', { up: false });
      assert.equal(down.up, false);
      assert.ok(!flags('vx0').includes('UP'));
      assert.equal(isOpen(4789), false);
      assert.deepEqual(vtep.status().listeners, []);
    });

    it('open and close when somebody uses plain ip, within 200 ms', async (t) => {
      await add();
      for (let round = 0; round < 3; ++round) {
        here.ip('link set vx0 up');
        const opened = await until('the port is open', () => isOpen(4789), AT_ONCE_MS);
        assert.equal(device()?.up, true);
        here.ip('link set vx0 down');
        const closed = await until('the port is closed', () => !isOpen(4789), AT_ONCE_MS);
        assert.equal(device()?.up, false);
        t.diagnostic(`opened after ${opened.toFixed(1)} ms, closed after ${closed.toFixed(1)} ms`);
      }
      const states = events.flatMap((event) => (event.event === 'link' ? [event.up] : []));
      assert.deepEqual(states, [false, true, false, true, false, true, false]);
    });

    it('in use: our own up is refused with the kernel’s words and the TAP stays down', async () => {
      const { createSocket } = await import('node:dgram');
      const holder = createSocket('udp4');
      await new Promise<void>((done) => holder.bind(4789, () => done()));
      await add();
      const before = descriptors();
      await assert.rejects(
        vtep.setDevice('vx0', { up: true, mtu: 1300, ttl: 9 }),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'IN_USE');
          assert.match(error.message, /Address already in use/);
          assert.match(error.message, new RegExp(`process ${process.pid} `));
          return true;
        },
      );
      assert.ok(!flags('vx0').includes('UP'));
      assert.equal(descriptors(), before);
      const after = device()!;
      assert.deepEqual([after.up, after.config.mtu, after.config.ttl], [false, 1500, 0]);

      here.ip('link set vx0 up');
      await until(
        'it is taken down again',
        () =>
          log.some((line) => /^error: link vx0: .*Address already in use.*taken down again/.test(line)) &&
          !flags('vx0').includes('UP'),
        1000,
      );
      assert.equal(device()!.up, false);

      holder.close();
      here.ip('link set vx0 up');
      await until('the port is open', () => isOpen(4789) && device()!.up, AT_ONCE_MS);
    });

    it('are shared by devices that agree on what they receive; others are refused at up', async () => {
      await add({ name: 'vx0', id: 1 });
      await add({ name: 'vx1', id: 2 });
      await add({ name: 'vx2', id: 3, gbp: true });
      await vtep.setDevice('vx0', { up: true });
      await vtep.setDevice('vx1', { up: true });
      assert.equal(ports().filter((one) => one.endsWith(':4789')).length, 1);
      assert.deepEqual(vtep.status().listeners, [{ family: 'inet', port: 4789, devices: ['vx0', 'vx1'] }]);
      await assert.rejects(vtep.setDevice('vx2', { up: true }), /Address already in use/);
      await vtep.setDevice('vx0', { up: false });
      assert.ok(isOpen(4789));
      await vtep.setDevice('vx1', { up: false });
      assert.ok(!isOpen(4789));
      await vtep.setDevice('vx2', { up: true });
      assert.ok(isOpen(4789));
    });

    it("the policy that a command gives a device is the device's", async () => {
      await add({ name: 'vx0', id: 1, gbp: true, policy: 5 });
      const policy = () => [vtep.devices()[0]!.config.policy, vtep.status().devices[0]!.config.policy];
      assert.deepEqual(policy(), [5, 5]);
      vtep.policy({ op: 'add', dev: 'vx0', id: 9 });
      vtep.policy({ op: 'add', dev: 'vx0', id: 7, mac: '02:00:00:00:00:01' });
      assert.deepEqual(policy(), [9, 9]);
      assert.equal((await vtep.setDevice('vx0', { ageing: 60 })).config.policy, 9);
      vtep.policy({ op: 'del', dev: 'vx0' });
      assert.deepEqual(policy(), [undefined, undefined]);
      assert.ok(!('policy' in vtep.devices()[0]!.config));
    });

    it('of both families for an external device, of local only with bind, several with listen', async () => {
      underlay();
      await add({ name: 'e0', id: 0, external: true, dstport: 4790 });
      await vtep.setDevice('e0', { up: true });
      assert.deepEqual(
        ports().filter((one) => one.endsWith(':4790')),
        ['00000000:4790', `${'0'.repeat(32)}:4790`],
      );
      await add({ name: 'b0', id: 5, local: '192.0.2.1', bind: true, listen: [5000, 5001], dstport: 4791 });
      await vtep.setDevice('b0', { up: true });
      const own = ports().filter((one) => one.startsWith('010200C0:'));
      assert.deepEqual(own.sort(), ['010200C0:4791', '010200C0:5000', '010200C0:5001']);
      await add({ name: 'b1', id: 6, local: '192.0.2.77', bind: true, dstport: 4792 });
      await assert.rejects(vtep.setDevice('b1', { up: true }), /Cannot assign requested address/);
    });

    it('leave no descriptor behind', async () => {
      underlay();
      const live = async () => {
        await add({ group: '239.1.1.1', dev: 'u0', local: '192.0.2.1' });
        await vtep.setDevice('vx0', { up: true });
        // It reports its own groups, so that sources are opened.
        await until('sent', () => device()!.stats.tx.packets > 0, 10_000);
        await vtep.deleteDevice('vx0');
      };
      // Workers open a socket of their own at their first packet and keep it.
      await live();
      const before = descriptors();
      for (let round = 0; round < 3; ++round) await live();
      assert.equal(descriptors(), before);
    });
  });

  it('down flushes what was learned, and keeps what is permanent or static', async () => {
    await add({ remote: '192.0.2.9' });
    await vtep.setDevice('vx0', { up: true });
    for (const [last, state] of [
      [1, 'permanent'],
      [2, 'static'],
      [3, 'dynamic'],
    ] as const) {
      vtep.fdb({ op: 'add', dev: 'vx0', mac: `02:00:00:00:00:0${last}`, dst: '192.0.2.2', state });
    }
    const macs = () =>
      vtep
        .fdbShow('vx0')
        .map(({ mac }) => mac.slice(-2))
        .sort();
    assert.deepEqual(macs(), ['00', '01', '02', '03']);
    here.ip('link set vx0 down');
    await until('flushed', () => macs().length === 3, AT_ONCE_MS);
    assert.deepEqual(macs(), ['00', '01', '02']);

    here.ip('link set vx0 up');
    await until('up', () => device()!.up, AT_ONCE_MS);
    vtep.fdb({ op: 'add', dev: 'vx0', mac: '02:00:00:00:00:03', dst: '192.0.2.2', state: 'dynamic' });
    here.ip('link set vx0 down', 'link set vx0 up');
    await until('flushed, however short it was', () => macs().length === 3, AT_ONCE_MS);
    await until('up again', () => device()!.up && isOpen(4789), AT_ONCE_MS);
  });

  describe('multicast groups', () => {
    const groups = (dev: string): string[] =>
      here
        .ipJson('maddr', 'show', 'dev', dev)[0]
        .maddr.filter(({ family }: { family?: string }) => family === 'inet' || family === 'inet6')
        .map(({ address }: { address: string }) => address)
        .filter((address: string) => address.startsWith('239.') || address.startsWith('ff05:'))
        .sort();

    it('are joined at up, shared, moved, and left by the last one', async () => {
      underlay();
      await add({ name: 'vx0', id: 1, group: '239.1.1.1', dev: 'u0' });
      await add({ name: 'vx1', id: 2, group: '239.1.1.1', dev: 'u0' });
      assert.deepEqual(groups('u0'), []);
      await vtep.setDevice('vx0', { up: true });
      await vtep.setDevice('vx1', { up: true });
      assert.deepEqual(groups('u0'), ['239.1.1.1']);
      await vtep.setDevice('vx0', { up: false });
      assert.deepEqual(groups('u0'), ['239.1.1.1']);
      await vtep.setDevice('vx1', { group: '239.1.1.2' });
      assert.deepEqual(groups('u0'), ['239.1.1.2']);
      assert.deepEqual(
        vtep.fdbShow('vx1').map(({ dst, viaIf }) => [dst, viaIf]),
        [['239.1.1.2', 'u0']],
      );
      await vtep.setDevice('vx1', { dev: 'u1' });
      assert.deepEqual([groups('u0'), groups('u1')], [[], ['239.1.1.2']]);
      assert.deepEqual(
        vtep.fdbShow('vx1').map(({ dst, viaIf }) => [dst, viaIf]),
        [['239.1.1.2', 'u0']],
      );
      const unicast = await vtep.setDevice('vx1', { remote: '192.0.2.9' });
      assert.deepEqual(
        [groups('u1'), unicast.config.group, unicast.config.remote],
        [[], undefined, '192.0.2.9'],
      );
      here.ip('link set vx0 up');
      await until('joined', () => groups('u0').length === 1, AT_ONCE_MS);
      here.ip('link set vx0 down');
      await until('left', () => groups('u0').length === 0, AT_ONCE_MS);
    });

    it('of IPv6 too', async () => {
      underlay();
      await add({ group: 'ff05::42', dev: 'u0' });
      await vtep.setDevice('vx0', { up: true });
      assert.deepEqual(groups('u0'), ['ff05::42']);
      await vtep.deleteDevice('vx0');
      assert.deepEqual(groups('u0'), []);
    });
  });

  describe('changes from outside are followed within 200 ms', () => {
    it('name, MAC and MTU', async () => {
      await add();
      here.ip('link set vx0 address 02:aa:bb:cc:dd:01 mtu 1234');
      await until(
        'MAC and MTU',
        () => device()?.config.mtu === 1234 && device()?.config.address === '02:aa:bb:cc:dd:01',
        AT_ONCE_MS,
      );
      here.ip('link set vx0 name other');
      await until('name', () => device('other') !== undefined && device('vx0') === undefined, AT_ONCE_MS);
      vtep.fdb({ op: 'add', dev: 'other', mac: '02:00:00:00:00:01', dst: '192.0.2.2' });
      await vtep.setDevice('other', { up: true, name: 'third' });
      assert.equal(device('third')?.up, true);
      assert.ok(flags('third').includes('UP'));
    });

    it('deletion: the device goes, and its name, VNI and port are free', async () => {
      await add();
      await vtep.setDevice('vx0', { up: true });
      here.ip('link del vx0');
      await until('gone', () => vtep.devices().length === 0, AT_ONCE_MS);
      await until('closed', () => !isOpen(4789), AT_ONCE_MS);
      assert.ok(log.some((line) => line.includes('was deleted')));
      const told = () =>
        events.some((event) => event.event === 'link' && event.deleted && event.ifname === 'vx0');
      await until('told', told, AT_ONCE_MS);
      await add();
      assert.equal((await vtep.setDevice('vx0', { up: true })).up, true);
    });

    it('the end of dev, deleted or moved away: the device goes with it', async () => {
      for (const end of ['link del u0', `link set u0 netns ${far.name}`]) {
        underlay();
        await add({ name: 'vx0', id: 1, dev: 'u0', remote: '192.0.2.9' });
        await add({ name: 'vx1', id: 2, remote: '192.0.2.9' });
        here.ip(end);
        await until('gone', () => device('vx0') === undefined, AT_ONCE_MS);
        assert.ok(device('vx1'));
        assert.ok(log.some((line) => line.includes('dev u0 has gone')));
        await vtep.deleteDevice('vx1');
        if (end.includes('netns')) far.ip('link del u0');
      }
    });

    it('a dev that is renamed stays the dev', async () => {
      underlay();
      await add({ dev: 'u0' });
      here.ip('link set u0 down', 'link set u0 name w0');
      await until('renamed', () => device()?.config.dev === 'w0', AT_ONCE_MS);
      await assert.rejects(
        vtep.setDevice('vx0', { mtu: 1451 }),
        /Invalid argument: 1450 is the most that w0 leaves/,
      );
      here.ip('link del w0');
      await until('gone', () => device() === undefined, AT_ONCE_MS);
    });

    it('a device that is deleted in another network namespace leaves nothing to listen there', async () => {
      const before = descriptors();
      for (const end of ['from outside', 'by command']) {
        await add();
        const moved = log.length;
        here.ip(`link set vx0 netns ${far.name}`);
        await until('followed', () => log.slice(moved).some((line) => line.includes('moved to')), 10_000);
        assert.ok(descriptors() > before);
        if (end === 'by command') await vtep.deleteDevice('vx0');
        else far.ip('link del vx0');
        await until(end, () => descriptors() === before, 10_000);
        assert.deepEqual(vtep.devices(), []);
      }
    });

    it('a move to another network namespace and back: its ports stay here', async () => {
      await add();
      await vtep.setDevice('vx0', { up: true });
      here.ip(`link set vx0 netns ${far.name}`);
      await until('the move closes the port', () => !isOpen(4789), AT_ONCE_MS);
      // To listen there takes a thread of its own.
      const moves = () => log.filter((line) => line.includes('moved to another network namespace')).length;
      await until('followed there', () => moves() === 1, 10_000);
      far.ip('link set vx0 up');
      await until('up there opens it here', () => isOpen(4789) && device()?.up === true, AT_ONCE_MS);
      far.ip('link set vx0 name inner mtu 1300');
      await until('renamed there', () => device('inner')?.config.mtu === 1300, AT_ONCE_MS);
      await vtep.setDevice('inner', { mtu: 1200, up: false });
      assert.equal(far.ipJson('link', 'show', 'inner')[0].mtu, 1200);
      assert.equal(isOpen(4789), false);
      far.ip(`link set inner netns ${here.name}`);
      await until('back', () => moves() === 2, AT_ONCE_MS);
      here.ip('link set inner up');
      await until('up again', () => isOpen(4789), AT_ONCE_MS);
      assert.equal(device('inner')?.ifindex, here.ipJson('link', 'show', 'inner')[0].ifindex);
    });
  });

  describe('refusals have the kernel’s words and leave nothing behind', () => {
    /** Ours; the same in iproute2's words, where it has them; code; sentence. */
    const CREATIONS: [Partial<DeviceConfig>, string, VtepErrorCode, string][] = [
      [{ id: 7 }, 'id 7 dstport 4789', 'EXISTS', 'A VXLAN device with the specified VNI already exists'],
      [
        { id: 7, local: '192.0.2.1' },
        'id 7 dstport 4789 local 192.0.2.1',
        'EXISTS',
        'A VXLAN device with the specified VNI already exists',
      ],
      [{ id: 1, dev: 'nope' }, 'id 1 dstport 4789 dev nope', 'NOT_FOUND', 'Cannot find device "nope"'],
      [
        { id: 1, flowlabel: 5 },
        'id 1 dstport 4789 local 192.0.2.1 flowlabel 5',
        'USAGE',
        'Label attribute only applies to IPv6 VXLAN devices',
      ],
      [
        { id: 1, local: 'fe80::1', remote: '2001:db8::9', dev: 'u0' },
        'id 1 dstport 4789 local fe80::1 remote 2001:db8::9 dev u0',
        'USAGE',
        'Invalid combination of local and remote address scopes',
      ],
      [
        { id: 1, local: '2001:db8::1', remote: 'fe80::9', dev: 'u0' },
        'id 1 dstport 4789 local 2001:db8::1 remote fe80::9 dev u0',
        'USAGE',
        'Invalid combination of local and remote address scopes',
      ],
      [
        { id: 1, local: 'fe80::1' },
        'id 1 dstport 4789 local fe80::1',
        'USAGE',
        'Local interface required for link-local local/remote addresses',
      ],
      [
        { id: 1, group: '239.1.1.1' },
        '',
        'USAGE',
        'Local interface required for multicast remote destination',
      ],
      [
        { id: 1, local: '192.0.2.1', remote: '2001:db8::9' },
        '',
        'USAGE',
        'Local and remote address must be from the same family',
      ],
      [{ id: 1, local: '239.1.1.1' }, '', 'USAGE', 'Local address cannot be multicast'],
      [{ id: 1, flowlabel: 'inherit' }, '', 'USAGE', 'Label policy only applies to IPv6 VXLAN devices'],
      [
        { id: 1, reserved_bits: '0x0800000000000000' },
        '',
        'USAGE',
        'Used bits 0x08000000ffffff00 cannot overlap reserved bits 0x0800000000000000',
      ],
      [
        { id: 1, gbp: true, reserved_bits: '0x0000000100000000' },
        '',
        'USAGE',
        'Used bits 0x88ffffffffffff00 cannot overlap reserved bits 0x0000000100000000',
      ],
      [
        { id: 1, local: '2001:db8:7::1', dev: 'no6' },
        'id 1 dstport 4789 local 2001:db8:7::1 dev no6',
        'USAGE',
        'IPv6 support disabled by administrator',
      ],
    ];
    const LINK: [Partial<DeviceConfig>, string, VtepErrorCode, string][] = [
      [{ id: 1, mtu: 10 }, 'mtu 10', 'USAGE', 'MTU must be between 68 and 65535'],
      [{ id: 1, mtu: 70000 }, 'mtu 70000', 'USAGE', 'MTU must be between 68 and 65535'],
      [
        { id: 1, address: '01:00:00:00:00:01' },
        'address 01:00:00:00:00:01',
        'USAGE',
        'Provided Ethernet address is not unicast',
      ],
    ];

    const scene = () => {
      underlay();
      here.ip('link add no6 type veth peer name no7');
      here.sysctl({ 'net/ipv6/conf/no6/disable_ipv6': 1 });
    };

    it('at creation', async () => {
      scene();
      if (hasKernel) here.ip('link add k0 type vxlan id 7 dstport 4789');
      await add({ name: 'vx7', id: 7 });
      const before = descriptors();
      const wrong: string[] = [];
      const check = async (
        fields: Partial<DeviceConfig>,
        command: string,
        code: VtepErrorCode,
        sentence: string,
      ) => {
        await assert.rejects(add({ name: 'vx1', ...fields }), (error: Error & { code: string }) => {
          if (error.code !== code || !error.message.includes(sentence))
            wrong.push(`${error.code} ${error.message}, not ${sentence}`);
          return true;
        });
        if (command === '' || !hasKernel) return;
        const { stderr } = spawnSync('ip', ['link', 'add', 'k1', ...command.split(' ')], {
          encoding: 'utf8',
        });
        if (!stderr.includes(sentence)) wrong.push(`the kernel says ${stderr}, not ${sentence}`);
      };
      for (const [fields, words, ...expected] of CREATIONS) {
        await check(fields, words && `type vxlan ${words}`, ...expected);
      }
      for (const [fields, words, ...expected] of LINK) {
        await check(fields, `${words} type vxlan id 1 dstport 4789`, ...expected);
      }
      assert.deepEqual(wrong, []);
      assert.deepEqual(
        vtep.devices().map(({ config }) => config.name),
        ['vx7'],
      );
      assert.ok(!here.ipJson('link', 'show').some(({ ifname }: { ifname: string }) => ifname === 'vx1'));
      assert.equal(descriptors(), before);
    });

    it('what differs in family, in what is received, or in a link-local dev is no clash', async () => {
      underlay();
      await add({ name: 'a', id: 1 });
      await add({ name: 'b', id: 1, local: '2001:db8::1' });
      await add({ name: 'c', id: 1, gbp: true });
      await add({ name: 'd', id: 1, dstport: 4790 });
      await add({ name: 'e', id: 1, local: 'fe80::1', dev: 'u0', dstport: 4791 });
      await add({ name: 'f', id: 1, local: 'fe80::2', dev: 'u1', dstport: 4791 });
      await assert.rejects(
        add({ name: 'g', id: 1, local: 'fe80::3', dev: 'u1', dstport: 4791 }),
        /already exists/,
      );
      await vtep.setDevice('e', { up: true });
      await assert.rejects(vtep.setDevice('f', { up: true }), /Address already in use/);
      assert.equal(vtep.devices().length, 6);
    });

    const CHANGES: [DeviceChange, string, VtepErrorCode, string][] = [
      [
        { remote: '2001:db8::9' },
        'type vxlan remote 2001:db8::9',
        'UNSUPPORTED',
        'New group address family does not match old group',
      ],
      [
        { local: '2001:db8::9' },
        'type vxlan local 2001:db8::9',
        'UNSUPPORTED',
        'New local address family does not match old',
      ],
      [{ dev: 'nope' }, 'type vxlan dev nope', 'NOT_FOUND', 'Cannot find device "nope"'],
      [{ mtu: 10 }, 'mtu 10', 'USAGE', 'mtu less than device minimum'],
      [{ mtu: 70000 }, 'mtu 70000', 'USAGE', 'mtu greater than device maximum'],
      [{ mtu: 1451 }, 'mtu 1451', 'USAGE', 'Invalid argument'],
      [
        { address: '01:00:00:00:00:01' },
        'address 01:00:00:00:00:01',
        'USAGE',
        'Cannot assign requested address',
      ],
      [{ name: 'u0' }, 'name u0', 'EXISTS', 'File exists'],
      [
        { flowlabel: 3 },
        'type vxlan flowlabel 3',
        'USAGE',
        'Label attribute only applies to IPv6 VXLAN devices',
      ],
    ];

    it('of a change: all of it or nothing', async () => {
      underlay();
      await add({ dev: 'u0', remote: '192.0.2.9' });
      if (hasKernel) here.ip('link add k0 type vxlan id 9 dstport 4790 dev u0 remote 192.0.2.9');
      await vtep.setDevice('vx0', { up: true });
      const state = () => [device()!.config, entries(), here.ipJson('link', 'show', 'vx0')[0], descriptors()];
      const before = state();
      for (const [change, command, code, sentence] of CHANGES) {
        const whole = { ttl: 9, learning: false, up: false, ...change };
        await assert.rejects(vtep.setDevice('vx0', whole), (error: Error & { code: string }) => {
          assert.equal(error.code, code, error.message);
          assert.ok(error.message.includes(sentence), error.message);
          return true;
        });
        assert.deepEqual(state(), before, sentence);
        if (!hasKernel) continue;
        const { stderr } = spawnSync('ip', ['link', 'set', 'k0', ...command.split(' ')], {
          encoding: 'utf8',
        });
        assert.ok(stderr.includes(sentence), stderr);
      }
    });

    it('a change that fails in its midst is taken back', async () => {
      underlay();
      await add({ group: '239.1.1.1', dev: 'u0', local: '192.0.2.1' });
      const state = () => {
        const { mtu, address, flags, ifname } = here.ipJson('link', 'show', 'vx0')[0];
        const listens = isOpen(4789);
        const { config, up, ifindex } = device()!;
        return { config, up, ifindex, fdb: entries(), link: { mtu, address, flags, ifname }, listens };
      };
      const before = state();
      // `ip` refuses the name last of all.
      const change = {
        name: 'a/b',
        mtu: 1300,
        address: '02:00:00:00:00:77',
        up: true,
        group: '239.1.1.2',
        local: '192.0.2.2',
      };
      await assert.rejects(vtep.setDevice('vx0', change));
      assert.deepEqual(state(), before);
      assert.equal(
        here
          .ipJson('maddr', 'show', 'dev', 'u0')[0]
          .maddr.some(({ address }: { address: string }) => address?.startsWith('239.')),
        false,
      );
    });
  });

  describe('changes', () => {
    it('have the kernel’s semantics', async () => {
      underlay();
      const created = await add({ ttl: 'inherit', ageing: 77 });
      assert.deepEqual([created.config.mtu, created.config.reserved_bits], [1500, '0xf7ffffff000000ff']);
      assert.equal((await vtep.setDevice('vx0', { ttl: 64 })).config.ttl, 'inherit');
      assert.equal((await vtep.setDevice('vx0', { ageing: 0 })).config.ageing, 300);
      assert.equal((await vtep.setDevice('vx0', { dev: 'u0' })).config.mtu, 1450);
      assert.equal(here.ipJson('link', 'show', 'vx0')[0].mtu, 1450);
      const changed = await vtep.setDevice('vx0', {
        localbypass: false,
        tos: 'inherit',
        df: 'set',
        learning: false,
      });
      const { localbypass, tos, df, learning } = changed.config;
      assert.deepEqual(
        { localbypass, tos, df, learning },
        { localbypass: false, tos: 'inherit', df: 'set', learning: false },
      );
      assert.equal((await add({ name: 'm', id: 9, dev: 'u0', mtu: 9000 })).config.mtu, 1450);
      assert.equal((await add({ name: 'n', id: 9, dev: 'u0', local: '2001:db8::1' })).config.mtu, 1430);
    });

    it('switch the offloads of each device on and off', async () => {
      underlay();
      await add({ gso: 'off', uso: false });
      await add({ name: 'vx1', id: 8 });
      const uso = (name: string) => features(name)['tx-udp-segmentation'];
      assert.deepEqual([uso('vx0'), uso('vx1')], [false, true]);
      const changed = await vtep.setDevice('vx0', { gso: 'tunnel', gro: false, uso: true });
      assert.deepEqual([changed.config.gso, changed.config.gro, changed.config.uso], ['tunnel', false, true]);
      assert.deepEqual([uso('vx0'), uso('vx1')], [true, true]);
      await vtep.setDevice('vx1', { uso: false, up: true });
      assert.deepEqual([uso('vx0'), uso('vx1')], [true, false]);
      // A change that is refused takes its switches back.
      await assert.rejects(vtep.setDevice('vx1', { uso: true, gro: false, address: '00:00:00:00:00:00' }));
      assert.equal(uso('vx1'), false);
      assert.equal(vtep.devices()[1]?.config.gro, undefined);
    });

    it('turn our own options on and off', async () => {
      underlay();
      await add({ proxy: true, ageing: 'never' });
      const on = { proxyforward: true, latelearning: true, knownsenders: true, ageing: 77 };
      const { config } = await vtep.setDevice('vx0', on);
      const { proxyforward, latelearning, knownsenders, ageing } = config;
      assert.deepEqual({ proxyforward, latelearning, knownsenders, ageing }, on);
      const changed = await vtep.setDevice('vx0', { knownsenders: false, ageing: 'never' });
      assert.deepEqual([changed.config.knownsenders, changed.config.ageing], [false, 'never']);
      const needs = { code: 'USAGE', message: /^honourdontlearn: needs "gbp"/ };
      await assert.rejects(vtep.setDevice('vx0', { honourdontlearn: true }), needs);
      await assert.rejects(add({ name: 'm', id: 9, proxyforward: true }), {
        code: 'USAGE',
        message: /^proxyforward: needs "proxy"/,
      });
    });

    it('a GPE device is a TUN without a MAC', async () => {
      underlay();
      const { config } = await add({
        gpe: true,
        external: true,
        id: 0,
        learning: false,
        dstport: 4790,
        dev: 'u0',
      });
      const [link] = here.ipJson('-d', 'link', 'show', 'vx0');
      assert.deepEqual([link.link_type, link.linkinfo.info_data.type], ['none', 'tun']);
      assert.deepEqual([config.address, config.mtu, config.reserved_bits], ['', 1464, '0xc2ffff00000000ff']);
      assert.equal((await vtep.setDevice('vx0', { up: true })).up, true);
    });
  });

  it('a program that ends without closing it does end', () => {
    const library = new URL('../src/create-vtep.ts', import.meta.url);
    const program = `import { createVtep } from '${library}'; await createVtep(); process.exit(7);`;
    const parameters = ['--import', 'tsx', '--input-type=module', '--eval', program];
    const { status, signal, stderr } = spawnSync(process.execPath, parameters, {
      encoding: 'utf8',
      timeout: 10_000,
      killSignal: 'SIGKILL',
    });
    assert.deepEqual({ status, signal, stderr }, { status: 7, signal: null, stderr: '' });
  });
});
