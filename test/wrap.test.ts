/** The wrappers of `ip` and `bridge`: what they take, what they leave alone, and that nobody can tell the difference. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { splitCall } from '../src/cli/wrap-flags.ts';
import { devicesPath, readDevices } from '../src/daemon/devices-file.ts';
import { REPOSITORY } from './support/netns.ts';
import { Place, WRAPPERS } from './support/selftest.ts';
import { suite } from './support/traffic-gate.ts';

const MAIN = join(REPOSITORY, 'dist/src/cli/main.js');
const WRAP_MAIN = join(REPOSITORY, 'dist/src/cli/wrap-main.js');

suite('the front', ['vxlane'], (bed) => {
  const directory = bed.directory();
  const real = join(directory, 'real');
  const socket = join(directory, 's.sock');

  /** Real tools and a Node that say how they were called. */
  function stage(devices: readonly string[]): void {
    mkdirSync(real, { recursive: true });
    for (const tool of ['ip', 'bridge', 'node']) {
      const path = join(real, tool);
      writeFileSync(
        path,
        `#!/bin/sh\nprintf '%s' "${tool}"\nfor a in "$@"; do printf '|%s' "$a"; done\nexit 7\n`,
      );
      chmodSync(path, 0o755);
    }
    writeFileSync(devicesPath(socket), `# netns 1:1\n${devices.map((name) => `${name}\n`).join('')}`);
  }

  function call(
    tool: string,
    argv: readonly string[],
    path = `${WRAPPERS}:${real}`,
  ): { out: string; code: number | null } {
    const env = { PATH: path, VXLANE_SOCKET: socket, VXLANE_NODE: join(real, 'node') };
    const { stdout, status } = spawnSync(join(WRAPPERS, tool), argv, { encoding: 'utf8', env });
    return { out: stdout, code: status };
  }

  const isReal = (line: string) => {
    const [tool = '', ...argv] = line.split(' ');
    const { out, code } = call(tool, argv);
    assert.equal(code, 7, line);
    const expected = [tool, ...argv].join('|');
    if (out.startsWith('node|')) {
      assert.equal(
        out.replace('/wrap/../', '/'),
        ['node', WRAP_MAIN, tool, join(real, tool), ...argv].join('|'),
      );
      return false;
    }
    assert.equal(out, expected, line);
    return true;
  };

  test('what concerns no device of vxlane is the real tool’s at once, word by word', () => {
    stage(['vx0']);
    for (const line of [
      'ip -V',
      'ip link show eth0',
      'ip link show',
      'ip addr add 192.0.2.1/24 dev eth0',
      'ip -j route show table all',
      'ip link add br0 type bridge',
      'ip -n other -s neigh',
      'bridge link show',
      'bridge vlan add dev eth0 vid 10',
      'bridge fdb add 02:00:00:00:00:01 dev eth0 master static',
      'ip netns exec other true',
    ])
      assert.ok(isReal(line), line);
  });

  test('words keep their blanks and quotes', () => {
    stage([]);
    const words = ['link', 'set', 'eth0', 'alias', `a "b" 'c' $d *`, ''];
    assert.equal(call('ip', words).out, ['ip', ...words].join('|'));
  });

  test('the word vxlan, a device’s name, a batch, and lists in which devices stand are looked at', () => {
    stage(['vx0', 'flannel.1']);
    for (const line of [
      'ip link add x type vxlan id 1',
      'ip link show type vxlan',
      'ip link del vx0',
      'ip -s link show flannel.1',
      'ip -d link show',
      'ip -details addr',
      'ip -batch -',
      'bridge -b file',
      'bridge fdb show',
      'bridge fdb',
      'bridge mdb show',
      'bridge vni',
      'bridge monitor fdb',
      'bridge fdb add 02:00:00:00:00:01 dev vx0 dst 192.0.2.1',
    ])
      assert.ok(!isReal(line), line);
  });

  test('without devices, lists are the real tool’s', () => {
    stage([]);
    for (const line of ['ip -d link show', 'bridge fdb show', 'bridge monitor', 'bridge vni'])
      assert.ok(isReal(line), line);
  });

  test('another folder of wrappers behind ours is passed over, and no tool at all is said', () => {
    stage([]);
    const other = join(directory, 'other');
    mkdirSync(other, { recursive: true });
    writeFileSync(join(other, 'vxlane-front'), '');
    writeFileSync(join(other, 'ip'), '#!/bin/sh\necho wrong\n');
    chmodSync(join(other, 'ip'), 0o755);
    assert.equal(call('ip', ['-V'], `${WRAPPERS}:${other}:${real}`).out, 'ip|-V');
  });
});

test('global options of the tools: which take a value, and where the words begin', () => {
  const words = (line: string) => splitCall(line.split(' '));
  assert.deepEqual(words('-j -d -s -s link show x').words, ['link', 'show', 'x']);
  const { flags, options } = words('-s -stat -d -j -p -n blue -f inet6 link');
  assert.deepEqual(
    [flags.statistics, flags.details, flags.json, flags.pretty, flags.namespace],
    [2, 1, true, true, 'blue'],
  );
  assert.deepEqual(options, ['-s', '-stat', '-d', '-j', '-p', '-n', 'blue', '-f', 'inet6']);
  const batch = words('-force -batch file');
  assert.deepEqual([batch.flags.batch, batch.flags.force, batch.options], ['file', true, ['-force']]);
  assert.deepEqual(words('--netns blue fdb').flags.namespace, 'blue');
  assert.equal(words('-br link').flags.brief, true);
});

suite('wrapped commands', ['kernel', 'vxlane'], (bed) => {
  let place: Place;
  const start = async () => {
    place = await Place.start('vxlane', bed);
    return place;
  };

  test('a device is made, shown as a vxlan device, changed and deleted', async () => {
    const { ok, show, refused } = bound(await start());
    ok(
      'ip link add vx0 address 02:00:00:00:00:aa mtu 1400 txqueuelen 77 type vxlan id 42 remote 192.0.2.2 dstport 4789',
    );
    const text = show('ip -d link show vx0');
    assert.match(text, / {4}vxlan id 42 remote 192\.0\.2\.2 .*dstport 4789 .*addrgenmode/);
    assert.doesNotMatch(text, /tun type tap/);
    assert.match(text, /mtu 1400 .*qlen 77/);
    assert.match(text, /maxmtu 65535/);
    const [json] = JSON.parse(show('ip -j -d link show vx0'));
    assert.equal(json.linkinfo.info_kind, 'vxlan');
    assert.equal(json.linkinfo.info_data.id, 42);
    assert.equal(json.address, '02:00:00:00:00:aa');
    assert.equal(JSON.parse(show('ip -j -d link show type vxlan')).length, 1);
    assert.match(show('ip -d -o link show vx0'), /^[^\n]*\\ {4}vxlan id 42[^\n]*\n$/);
    refused(2, 'ip link add vx0 type vxlan id 43 dstport 4789', /RTNETLINK answers: File exists/);
    refused(
      2,
      'ip link add vx1 type vxlan id 42 dstport 4789',
      /A VXLAN device with the specified VNI already exists/,
    );
    refused(
      255,
      'ip link add vx1 type vxlan id 16777216 dstport 4789',
      /argument "16777216" is wrong: invalid id/,
    );
    refused(1, 'ip link add vx1 type vxlan dstport 4789', /missing virtual network identifier/);
    ok('ip link set vx0 name vx9 mtu 1300', 'ip link show vx9');
    refused(1, 'ip link show vx0', /Device "vx0" does not exist/);
    ok('ip link del vx9');
    refused(1, 'ip link show vx9', /does not exist/);
  });

  test('words of any interface and of the tunnel in one command', async () => {
    const { ok, show, refused } = bound(await start());
    ok(
      'ip link add br0 type bridge',
      'ip link add link lo name vx0 up master br0 type vxlan id 1 dstport 4789',
      'ip link set vx0 down alias tunnel nomaster',
      'ip link set dev vx0 master br0 up type vxlan ageing 60',
    );
    const [found] = JSON.parse(show('ip -j -d link show vx0'));
    assert.deepEqual(
      [found.ifalias, found.master, found.flags.includes('UP'), found.linkinfo.info_data.ageing],
      ['tunnel', 'br0', true, 60],
    );
    assert.equal(found.linkinfo.info_slave_kind, 'bridge');
    // One that can't be finished was not begun.
    refused(255, 'ip link add vx1 master nope type vxlan id 2 dstport 4789');
    refused(1, 'ip link show vx1');
    refused(1, 'ip link add link nope name vx1 type vxlan id 2 dstport 4789', /Cannot find device "nope"/);
  });

  test('counters in `ip -s link` are the driver’s', async () => {
    const { ok, show } = bound(await start());
    // Linux says nothing of its own between the two lists.
    place.host.sysctl({ 'net.ipv6.conf.default.disable_ipv6': 1 });
    ok('ip link add vx0 type vxlan id 1 dstport 4789', 'ip link set vx0 up');
    await (await place.agent()).call('inject', 'vx0', [new Uint8Array(60).fill(2)], {});
    const [{ stats64 }] = JSON.parse(show('ip -j -s -s link show vx0'));
    assert.ok(stats64.tx.dropped >= 1, JSON.stringify(stats64));
    const text = show('ip -s link show vx0');
    assert.equal(text.match(/^ {4}[RT]X:/gm)?.length, 2);
    assert.match(text, new RegExp(`^ +\\d+ +\\d+ +\\d+ +${stats64.tx.dropped} `, 'm'));
  });

  test('the bridge’s entries and the tunnel’s in one list, the interface’s own left out', async () => {
    const { ok, show } = bound(await start());
    ok(
      'ip link add br0 type bridge',
      'ip link add vx0 master br0 type vxlan id 1 dstport 4789',
      'ip link set br0 up',
      'ip link set vx0 up',
      'bridge fdb add 02:00:00:00:00:01 dev vx0 dst 192.0.2.2 self master static',
    );
    const lines = show('bridge fdb show dev vx0').split('\n');
    assert.ok(lines.some((line) => line === '02:00:00:00:00:01 master br0 static'));
    assert.ok(lines.some((line) => line === '02:00:00:00:00:01 dst 192.0.2.2 self static'));
    assert.ok(!lines.some((line) => /^(33:33|01:00:5e).* self/.test(line)), lines.join('\n'));
    const json = JSON.parse(show('bridge -j fdb show br br0'));
    assert.equal(json.filter((entry: { mac: string }) => entry.mac === '02:00:00:00:00:01').length, 2);
  });

  test('a batch keeps its order and counts its lines', async () => {
    const { ok, refused, show } = bound(await start());
    ok(
      [
        "ip -batch - <<'END'",
        '# a comment',
        'link add br0 type bridge',
        'link add vx0 type vxlan \\',
        '  id 1 dstport 4789',
        'link set vx0 master br0',
        '',
        'link set vx0 up',
        'END',
      ].join('\n'),
    );
    assert.match(show('ip link show vx0'), /master br0/);
    refused(
      1,
      "printf 'link show lo\\nlink del vx0\\nlink show vx0\\nlink show lo\\n' | ip -batch -",
      /Command failed -:3/,
    );
    refused(
      1,
      "printf 'link add vx1 type vxlan id 1 dstport 1\\nlink add vx2 type vxlan id 1 dstport 1\\nlink add br1 type bridge\\n' | ip -force -batch -",
      /.*/,
    );
  });

  test('a port that is taken is refused at up, as the kernel refuses it', async () => {
    const { ok, refused, show } = bound(await start());
    ok('ip link add vx0 type vxlan id 1 dstport 4789', 'ip link set vx0 up');
    ok('ip link add vx1 type vxlan id 2 dstport 4789 gbp');
    refused(2, 'ip link set vx1 up', /RTNETLINK answers: Address already in use/);
    refused(2, 'ip link add vx2 up type vxlan id 3 dstport 4789 gbp', /Address already in use/);
    assert.doesNotMatch(show('ip link show vx1'), /LOWER_UP/);
    refused(1, 'ip link show vx2');
  });

  test('VLANs of a bridge port are mapped to VNIs', async () => {
    const { ok, show } = bound(await start());
    ok(
      'ip link add br0 type bridge',
      'ip link add vx0 master br0 type vxlan external dstport 4789',
      'bridge link set dev vx0 vlan_tunnel on learning off',
      'bridge vlan add dev vx0 vid 10 tunnel_info id 10010',
      'bridge vlan add dev vx0 vid 20-21 tunnel_info id 10020-10021',
    );
    assert.match(show('bridge -d link show dev vx0'), /learning off/);
    const mapped = () => show('bridge vlan tunnelshow dev vx0');
    assert.match(mapped(), /10 +10010/);
    assert.match(mapped(), /20-21 +10020-10021/);
    ok('bridge vlan del dev vx0 vid 10 tunnel_info id 10010');
    assert.doesNotMatch(mapped(), /10010/);
    ok(
      'ip link add vx1 type vxlan external vnifilter dstport 4790',
      'bridge vni add vni 100,200-205 dev vx1',
      'bridge vni add vni 300 remote 192.0.2.3 dev vx1',
    );
    assert.match(show('bridge vni show'), /200-205/);
    assert.equal(JSON.parse(show('bridge -j vni show dev vx1'))[0].vnis.length, 3);
  });

  test('a monitor that is ended ends the real one too', async () => {
    const here = await start();
    here.ok('ip link add vx0 type vxlan id 1 dstport 4789');
    here.ok(
      [
        'bridge monitor all >/dev/null & monitor=$!',
        'for turn in 1 2 3 4 5 6 7 8 9 10; do [ -n "$(cat /proc/$monitor/task/*/children)" ] && break; sleep 0.2; done',
        'child=$(cat /proc/$monitor/task/*/children | cut -d" " -f1)',
        'kill $monitor; wait $monitor',
        '[ -n "$child" ] && ! kill -0 $child 2>/dev/null',
      ].join('\n'),
    );
  });

  test('-n names the namespace, whose daemon is asked', async () => {
    const first = await start();
    const second = await Place.start('vxlane', bed);
    first.ok(
      `ip -n ${second.host.name} link add vx0 type vxlan id 7 dstport 4789`,
      `bridge -n ${second.host.name} fdb add 02:00:00:00:00:01 dev vx0 dst 192.0.2.2`,
    );
    assert.equal(second.count('bridge fdb show dev vx0', '02:00:00:00:00:01'), 1);
    first.refused(1, 'ip link show vx0');
    assert.match(first.show(`ip -n ${second.host.name} -d link show vx0`), /vxlan id 7/);
    const bare = first.neighbour('bare');
    first.refused(2, `ip -n ${bare.name} link add vx0 type vxlan id 7 dstport 4789`, /vxlane daemon/);
  });

  test('real tools started by the real tool find the wrappers, those started by vxlane do not', async () => {
    const here = await start();
    here.ok('ip link add vx0 type vxlan id 1 dstport 4789');
    assert.match(here.show(`ip netns exec ${here.host.name} ip -d link show vx0`), /vxlan id 1/);
    here.ok(`${process.execPath} ${MAIN} neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev vx0`);
  });

  test('`vxlane wrap` runs a command with its exit code, and prints the folder', async () => {
    const here = await start();
    const vxlane = `PATH=$\{PATH#*:} ${process.execPath} ${MAIN}`;
    assert.equal(here.show(`${vxlane} wrap --path`).trim().replace(/\/$/, ''), WRAPPERS);
    here.ok(`${vxlane} wrap -- ip link add vx0 type vxlan id 1 dstport 4789`);
    assert.match(here.show(`${vxlane} wrap -- ip -details link show vx0`), /vxlan id 1/);
    here.refused(9, `${vxlane} wrap -- sh -c 'exit 9'`);
    here.refused(127, `${vxlane} wrap -- /no/such/program`, /not found/);
    here.refused(1, `${vxlane} wrap`, /what is to be run/);
  });

  test('the list of devices follows them and goes with the daemon', async () => {
    const here = await start();
    const path = `/run/vxlane/netns/${here.host.name}.sock`;
    assert.deepEqual(readDevices(path).names, []);
    here.ok('ip link add vx0 type vxlan id 1 dstport 4789', 'ip link add vx1 type vxlan id 2 dstport 4789');
    assert.deepEqual(readDevices(path).names, ['vx0', 'vx1']);
    here.ok('ip link set vx0 name vx7', 'ip link del vx1');
    assert.deepEqual(readDevices(path).names, ['vx7']);
    assert.match(readFileSync(devicesPath(path), 'utf8'), /^# netns \d+:\d+\n/);
    const pid = JSON.parse(here.show(`${process.execPath} ${MAIN} -j status`)).pid;
    process.kill(pid, 'SIGTERM');
    for (const end = performance.now() + 15_000; existsSync(devicesPath(path)) && performance.now() < end; )
      await new Promise((done) => setTimeout(done, 20));
    assert.ok(!existsSync(devicesPath(path)));
    here.refused(2, 'ip link add vx0 type vxlan id 1 dstport 4789', /start one with "vxlane daemon"/);
  });
});

function bound(place: Place): Pick<Place, 'ok' | 'show' | 'refused'> {
  return {
    ok: (...scripts) => place.ok(...scripts),
    show: (script) => place.show(script),
    refused: (code, script, words) => place.refused(code, script, words),
  };
}
