/**
 * The same words through the real `ip` on a device of the kernel and through vxlane: equal exit codes, and the
 * sentence of iproute2 or of the kernel stands in what vxlane says.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli } from '../src/cli/program.ts';
import { configOf } from '../src/daemon/config.ts';
import { startDaemon } from '../src/daemon/daemon.ts';
import { FakeVtep } from './support/fake-vtep.ts';

/** Devices that are there: v has IPv4, v6 IPv6, vt inherits the TTL, ve is external. */
const DEVICES = [
  'add v type vxlan id 1 dstport 4789 local 192.0.2.1 remote 192.0.2.2',
  'add v6 type vxlan id 2 dstport 4789 local 2001:db8::1',
  'add vt type vxlan id 3 dstport 4789 ttl inherit',
  'add ve type vxlan external dstport 4790',
];

const NAMES = DEVICES.map((line) => line.split(' ')[1]!);

const ADD = [
  ...['id 16777216', 'id -1', 'id', 'id 5 id 6', 'id 5 id x', 'dev lo', 'external', 'id 5 foo', 'id 5 mtu 9'],
  ...['id 5 remote 239.1.1.1', 'id 5 remote any', 'id 5 remote zz', 'id 5 remote 0.0.0.0', 'id 5 remote ::'],
  ...['id 5 group 192.0.2.1', 'id 5 group zz', 'id 5 group 239.1.1.1', 'id 5 group ff05::1 dev lo'],
  'id 5 group 239.1.1.1 remote 192.0.2.2 dev lo',
  'id 5 remote 192.0.2.2 group 239.1.1.1 dev lo',
  ...['id 5 local ff02::1', 'id 5 local any', 'id 5 local 0.0.0.0', 'id 5 local ::', 'id 5 local 192.0.2'],
  ...['id 5 remote 192.0.2.2 local 2001:db8::2', 'id 5 local 2001:db8::2 remote 192.0.2.2'],
  ...['id 5 remote fe80::1', 'id 5 local fe80::1', 'id 5 local fe80::1 remote 2001:db8::1 dev lo'],
  ...['id 5 local fe80::1 remote fe80::2 dev lo', 'id 5 local fe80::1 group ff02::1 dev lo'],
  ...['id 5 ttl x', 'id 5 ttl 256', 'id 5 ttl 0', 'id 5 ttl auto', 'id 5 hop 5', 'id 5 ttl 5 hop 6'],
  ...['id 5 tos zz', 'id 5 tos 100', 'id 5 tos AF11', 'id 5 dsfield 1', 'id 5 df no', 'id 5 df set'],
  ...[
    'id 5 flowlabel 0x100000',
    'id 5 label x',
    'id 5 label 5',
    'id 5 label 5 local ::1',
    'id 5 flowlabel 0',
  ],
  ...['id 5 dstport 65536', 'id 5 srcport x 2', 'id 5 srcport 1 x', 'id 5 srcport 1', 'id 5 srcport 5 4'],
  ...['id 5 ageing x', 'id 5 ageing none', 'id 5 maxaddress x', 'id 5 maxaddress unlimited'],
  ...['id 5 learning nolearning', 'id 5 proxy rsc l2miss l3miss', 'id 5 nop nor nol2 nol3', 'id 5 no'],
  ...['id 5 udpcsum noudpcsum', 'id 5 udp6zerocsumtx udp6zerocsumrx', 'id 5 remcsumtx remcsumrx gbp'],
  ...['id 5 vnifilter', 'external vnifilter', 'external id 5', 'external learning', 'id 5 noexternal'],
  ...[
    'external gpe gbp',
    'external gpe learning',
    'external gpe proxy',
    'external gpe remcsumtx',
    'external gpe',
  ],
  ...[
    'external gpe ttl inherit',
    'id 1',

    'external dstport 4790',
    'vni 0x10',
  ],
];

const LINES = [
  ...ADD.map((words) => `add new type vxlan ${words.includes('dstport') ? words : `${words} dstport 4789`}`),
  ...[
    'add',
    'add new',
    'add new type',
    'add new type vxlan',
    'add new type nope',
    'add new other type vxlan id 5',
  ],
  ...[
    'mtu 67',
    'mtu 65536',
    'mtu x',
    'address 01:00:00:00:00:01',
    'address 00:00:00:00:00:00',
    'address zz',
  ].map((words) => `add new ${words} type vxlan id 5 dstport 4789`),
  'add v type vxlan id 5 dstport 4789',
  ...[
    'set',
    'set nope up',
    'set v',
    'set v foo',
    'set v up down',
    'set v dev v6',
    'set v type vxlan',
    'del',
    'del nope',
  ],
  ...[
    'set v mtu 67',
    'set v mtu 65536',
    'set v mtu x',
    'set v address 01:00:00:00:00:01',
    'show nope',
    'nope',
  ],
  ...[
    ...[
      'id 9',
      'id 1',
      'dstport 4789',
      'dstport 0',
      'srcport 1 2',
      'srcport 0 0',
      'maxaddress 5',
      'ttl inherit',
    ],
    ...[
      'ttl 5',
      'ttl 256',
      'tos inherit',
      'df inherit',
      'ageing 0',
      'learning',
      'nolearning',
      'udpcsum',
      'noudpcsum',
    ],
    ...[
      'proxy',
      'noproxy',
      'rsc',
      'nol2miss',
      'l3miss',
      'udp6zerocsumtx',
      'noudp6zerocsumrx',
      'remcsumtx',
      'remcsumrx',
    ],
    ...[
      'gbp',
      'external',
      'noexternal',
      'vnifilter',
      'external vnifilter',
      'external id 1',
      'flowlabel 5',
      'flowlabel 0',
    ],
    ...['remote 192.0.2.9', 'remote 2001:db8::9', 'remote any', 'local 192.0.2.8', 'local 2001:db8::8'],
    ...[
      'group 239.1.1.1',
      'group 239.1.1.1 dev lo',
      'remote 192.0.2.2 local ::1',
      'foo',
      'id 1 id 1',
      'dev lo',
    ],
  ].map((words) => `set v type vxlan ${words}`),
  ...['flowlabel 5', 'remote 2001:db8::9', 'remote 192.0.2.9', 'local fe80::1'].map(
    (words) => `set v6 type vxlan ${words}`,
  ),
  ...['ttl 5', 'ttl auto', 'ttl inherit'].map((words) => `set vt type vxlan ${words}`),
  ...['external', 'noexternal', 'id 5', 'ageing 5'].map((words) => `set ve type vxlan ${words}`),
];

interface Answer {
  code: number;
  err: string;
}

/** Answers of the real tool, each to a fresh set of devices; undefined where no device of the kernel can be made. */
function kernelAnswers(): Answer[] | undefined {
  const make = (names: readonly string[]) =>
    DEVICES.filter((line) => names.includes(line.split(' ')[1]!)).map((line) => `ip link ${line}; `);
  const fresh = (line: string) => {
    const [verb, name] = line.split(' ');
    const touched = verb === 'add' ? ['new'] : verb === 'set' && name !== undefined ? [name] : [];
    return [...touched.map((device) => `ip link del ${device} 2>/dev/null || true; `), ...make(touched)].join(
      '',
    );
  };
  const script = [
    ...make(NAMES),
    ...LINES.map(
      (line) => `ip link ${line} 2>&1 >/dev/null && c=0 || c=$?; printf '\\0%s\\0' $c; ${fresh(line)}`,
    ),
  ].join('\n');
  const flags = process.getuid?.() === 0 ? '-n' : '-Urn';
  const { status, stdout } = spawnSync('unshare', [flags, 'sh', '-ec', script], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const parts = stdout.split('\0');
  return LINES.map((_, index) => ({ err: parts[2 * index]!, code: Number(parts[2 * index + 1]) }));
}

/** The sentence without what iproute2 puts around it, in the words of version 7.1. */
function sentence(err: string): string {
  const [first = ''] = err.split('\n').filter((line) => line !== '');
  return first
    .replace(/^(Error|RTNETLINK answers): /, '')
    .replace('is a garbage', 'is garbage')
    .replace(/(\. Try option "help"|, try "ip link help".)$/, '')
    .replace(/\|?\.?$/, '');
}

/** Where we answer differently, and why. */
const OTHERWISE: Readonly<Record<string, string>> = {
  'add new type vxlan id 5 local 192.0.2 dstport 4789': 'an address is written in full',
};

test('exit codes and sentences of ip link, line by line', async (t) => {
  const expected = kernelAnswers();
  if (expected === undefined) return t.skip('no vxlan device of the kernel can be made here');
  const directory = await mkdtemp(join(tmpdir(), 'vxlane-'));
  const socket = join(directory, 's.sock');
  const vtep = new FakeVtep();
  const daemon = await startDaemon({ config: configOf([]), socket, createVtep: async () => vtep });
  const run = async (line: string): Promise<Answer> => {
    let err = '';
    const code = await runCli(['link', ...line.split(' ')], {
      out: () => {},
      err: (text) => {
        err += text;
      },
      env: { VXLANE_SOCKET: socket },
    });
    return { code, err };
  };
  try {
    let refused = 0;
    for (const [index, line] of LINES.entries()) {
      for (const { config } of vtep.devices()) await vtep.deleteDevice(config.name);
      for (const device of DEVICES) assert.deepEqual(await run(device), { code: 0, err: '' }, device);
      const answer = await run(line);
      if (line in OTHERWISE) continue;
      const { code, err }: Answer = expected[index]!;
      assert.equal(answer.code, code, `${line}\nip:     ${err}\nvxlane: ${answer.err}`);
      const said = sentence(err);
      assert.ok(answer.err.includes(said), `${line}\nip:     ${said}\nvxlane: ${answer.err}`);
      if (code !== 0) refused++;
    }
    assert.ok(refused > 80, `${refused} of ${LINES.length} lines are refused`);
  } finally {
    await daemon.close();
    await rm(directory, { recursive: true });
  }
});
