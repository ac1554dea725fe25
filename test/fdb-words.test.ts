/** The words of `bridge fdb`: every one of them, abbreviations, and every refusal with its one line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseShow, select } from '../src/cli/fdb-filter.ts';
import { fdbObjects, fdbText } from '../src/cli/fdb-format.ts';
import { parseChange, parseFlush, parseGet } from '../src/cli/fdb-words.ts';
import { VtepError, type VtepErrorCode } from '../src/errors.ts';
import type { FdbEntry } from '../src/types.ts';

const split = (line: string) => line.split(' ').filter((word) => word !== '');

function refuses(run: () => unknown, code: VtepErrorCode, message: string): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof VtepError);
    assert.deepEqual([error.code, error.message], [code, message]);
    return true;
  });
}

const MAC = '02:00:00:00:00:07';
const CHANGES: [words: string, request: Record<string, unknown>][] = [
  [`${MAC} dev vx0 dst 192.0.2.7`, { dst: '192.0.2.7' }],
  [`to ${MAC} dev vx0 dst 192.0.2.7 self permanent`, { dst: '192.0.2.7', state: 'permanent' }],
  [`dev vx0 2:0:0:0:0:7 dst 2001:DB8::7 local`, { dst: '2001:db8::7', state: 'permanent' }],
  [
    `${MAC} dev vx0 dst 0.0.0.0 port 0x10 vni 43 via eth0 src_vni 052`,
    { dst: '0.0.0.0', port: 16, vni: 43, via: 'eth0', src_vni: 42 },
  ],
  [`${MAC} dev vx0 nhid 10 src_vni 6 router`, { nhid: 10, src_vni: 6, router: true }],
  [`${MAC} dev vx0 nhid 0 dst 192.0.2.7`, { dst: '192.0.2.7' }],
  [`${MAC} dev vx0 dst 192.0.2.7 temp rou`, { dst: '192.0.2.7', state: 'static', router: true }],
  [`${MAC} dev vx0 dst 192.0.2.7 stat`, { dst: '192.0.2.7', state: 'static' }],
  [`${MAC} dev vx0 dst 192.0.2.7 dyn vl 5 u`, { dst: '192.0.2.7', state: 'dynamic', use: true }],
  [`${MAC} dev vx0 dst 192.0.2.7 static dynamic`, { dst: '192.0.2.7', state: 'dynamic' }],
  [`${MAC} dev vx0 dst 192.0.2.7 dynamic permanent`, { dst: '192.0.2.7', state: 'permanent' }],
  [`${MAC} dev vx0 dst 192.0.2.7 e sticky`, { dst: '192.0.2.7', extern_learn: true, sticky: true }],
  [`${MAC} dev vx0 dst 192.0.2.7 self mas`, { dst: '192.0.2.7', master: true }],
  [`${MAC} dev vx0 dst 192.0.2.7 activity_notify inactive norefresh`, { dst: '192.0.2.7' }],
];

test('add, append, replace and del', () => {
  for (const op of ['add', 'append', 'replace', 'del'] as const)
    for (const [words, request] of CHANGES)
      assert.deepEqual(
        parseChange(op, split(words)),
        { op, mac: MAC, dev: 'vx0', ...request },
        `${op} ${words}`,
      );
  assert.deepEqual(parseChange('del', split(`${MAC} dev vx0`)), { op: 'del', mac: MAC, dev: 'vx0' });
});

const BRIDGE = 'entries of the bridge above the device are the kernel\'s: "bridge fdb" has them';

test('what can not be right in a change', () => {
  const change = (words: string) => () => parseChange('add', split(words));
  const REQUIRED =
    'Device and address are required arguments. "fdb add 02:00:00:00:00:01 dev NAME dst ADDR" has both';
  const EXCLUSIVE = 'dst, port, vni are mutually exclusive with nhid: the group names the remotes';
  const wrong: [words: string, code: VtepErrorCode, message: string][] = [
    [
      'zz dev vx0 dst 192.0.2.7',
      'USAGE',
      'argument "zz" is wrong: Invalid mac address zz: write it as aa:bb:cc:dd:ee:ff',
    ],
    ['dst 192.0.2.7', 'USAGE', REQUIRED],
    [`${MAC} dst 192.0.2.7`, 'USAGE', REQUIRED],
    ['dev vx0 dst 192.0.2.7', 'USAGE', REQUIRED],
    [
      `${MAC} dev vx0`,
      'USAGE',
      `Invalid argument: "dst" is missing: name the far VTEP, as in "fdb add ${MAC} dev vx0 dst ADDR"`,
    ],
    [`${MAC} dev vx0 nhid 5 dst 192.0.2.7`, 'USAGE', EXCLUSIVE],
    [`${MAC} dev vx0 nhid 5 port 5`, 'USAGE', EXCLUSIVE],
    [`${MAC} dev vx0 nhid 5 vni 0`, 'USAGE', EXCLUSIVE],
    [
      `${MAC} dev vx0 nhid x`,
      'USAGE',
      'argument "x" is wrong: "id" value is invalid: the number of a nexthop group is expected',
    ],
    [
      `${MAC} dev vx0 dst 192.0.2.x`,
      'USAGE',
      'argument "192.0.2.x" is wrong: any valid address is expected rather than "192.0.2.x": an IP address, not a name',
    ],
    [
      `${MAC} dev vx0 dst 192.0.2.7 port 99999`,
      'USAGE',
      'argument "99999" is wrong: invalid port: a UDP port is a number from 0 to 65535',
    ],
    [
      `${MAC} dev vx0 dst 192.0.2.7 vni 16777216`,
      'USAGE',
      'argument "16777216" is wrong: invalid VNI: a VNI is a number from 0 to 16777215',
    ],
    [
      `${MAC} dev vx0 dst 192.0.2.7 src_vni 16777216`,
      'USAGE',
      'argument "16777216" is wrong: invalid src VNI: a VNI is a number from 0 to 16777215',
    ],
    [`${MAC} dev vx0 dst 192.0.2.7 master`, 'UNSUPPORTED', `Operation not supported: ${BRIDGE}`],
    [
      `${MAC} 02:00:00:00:00:08 dev vx0 dst 192.0.2.7`,
      'USAGE',
      'either "to" is duplicate, or "02:00:00:00:00:08" is garbage',
    ],
    [
      `${MAC} dev vx0 dst 192.0.2.7 dst 192.0.2.8`,
      'USAGE',
      'either "dst" is duplicate, or "192.0.2.8" is garbage: give it once',
    ],
    [`${MAC} dev vx0 dst`, 'USAGE', 'Command line is not complete: "dst" needs a value'],
  ];
  for (const [words, code, message] of wrong) refuses(change(words), code, message);
});

test('get', () => {
  assert.deepEqual(parseGet(split(`${MAC} dev vx0 self`)), { mac: MAC, dev: 'vx0' });
  assert.deepEqual(parseGet(split(`to ${MAC} brport vx0 self vni 6 vlan 5 dyn`)), {
    mac: MAC,
    dev: 'vx0',
    vni: 6,
  });
  refuses(
    () => parseGet([MAC]),
    'USAGE',
    'Device or master and address are required arguments. "fdb get 00:00:00:00:00:00 dev NAME" has both',
  );
  refuses(
    () => parseGet(split(`${MAC} dev vx0 master`)),
    'UNSUPPORTED',
    `Operation not supported: ${BRIDGE}`,
  );
});

test('flush', () => {
  assert.deepEqual(
    parseFlush(split('dev vx0 nopermanent dst 192.0.2.7 port 5 vni 6 src_vni 7 nhid 8 router self')),
    { dev: 'vx0', permanent: false, dst: '192.0.2.7', port: 5, vni: 6, src_vni: 7, nhid: 8, router: true },
  );
  assert.deepEqual(
    parseFlush(
      split('dev vx0 self master static nodynamic noextern_learn nosticky nooffloaded noadded_by_user'),
    ),
    { dev: 'vx0', static: true, dynamic: false, extern_learn: false, sticky: false, offloaded: false },
  );
  const wrong: [words: string, code: VtepErrorCode, message: string][] = [
    ['permanent', 'USAGE', 'Device is a required argument. "fdb flush dev NAME" has it'],
    ['dev vx0 master', 'UNSUPPORTED', `Operation not supported: ${BRIDGE}`],
    ['dev vx0 sticky', 'UNSUPPORTED', 'Unsupported fdb flush ndm flag bits set.: leave out "sticky"'],
    [
      'dev vx0 added_by_user',
      'UNSUPPORTED',
      'Unsupported fdb flush ndm flag bits set.: leave out "added_by_user"',
    ],
    ['dev vx0 vlan 5', 'UNSUPPORTED', 'Unsupported attribute.: leave out "vlan"'],
    ['dev vx0 brport v0', 'UNSUPPORTED', 'Unsupported attribute.: leave out "brport"'],
    [
      'dev vx0 perm',
      'USAGE',
      'bridge fdb: unknown command "perm"?: "vxlane fdb help" lists the filters of "fdb flush"',
    ],
  ];
  for (const [words, code, message] of wrong) refuses(() => parseFlush(split(words)), code, message);
});

const entry = (mac: string, ifname: string, state: string, more: Partial<FdbEntry> = {}): FdbEntry => ({
  mac,
  ifname,
  dst: '192.0.2.7',
  used: 5,
  updated: 9,
  flags: ['self'],
  state,
  ...more,
});

test('show leaves out as bridge does', () => {
  const entries = [
    entry('1', 'vx0', 'permanent'),
    entry('2', 'vx0', 'static'),
    entry('3', 'vx0', ''),
    entry('4', 'vx0', 'stale'),
    entry('5', 'vx1', '0x80'),
  ];
  const shown = (words: string, ports?: string[]) =>
    select(entries, parseShow(split(words)), ports)
      .map(({ mac }) => mac)
      .join('');
  const cases: [words: string, macs: string][] = [
    ['', '12345'],
    ['nope self dyn', '12345'],
    ['dev vx0', '1234'],
    ['brport vx1', '5'],
    ['state permanent', '15'],
    // Permanent entries have the bit of static ones too, and static ones that of dynamic ones.
    ['state static', '12'],
    ['state temp', '12'],
    ['state rea', '23'],
    ['state d', '23'],
    ['state stale', '4'],
    ['state stale state permanent', '145'],
    ['state all', '12345'],
    ['state 0x42', '123'],
    ['dynamic', '2345'],
    ['vlan 0', '12345'],
    ['vlan 5', ''],
  ];
  for (const [words, macs] of cases) assert.equal(shown(words), macs, words);
  assert.equal(shown('br br0', ['vx1']), '5');
  assert.equal(parseShow(split('br br0')).br, 'br0');
  const invalid = 'invalid state: permanent, static, stale, reachable or all is expected';
  refuses(() => parseShow(split('state foo')), 'USAGE', `argument "foo" is wrong: ${invalid}`);
  refuses(() => parseShow(['dev']), 'USAGE', 'Command line is not complete: "dev" needs a value');
});

test('every field stands where bridge puts it', () => {
  const remote = { port: 5000, vni: 77, src_vni: 6 };
  const entries = [
    entry('02:00:00:00:00:01', 'vx0', '', { ...remote, viaIf: 'v0' }),
    entry('02:00:00:00:00:02', 'vx0', '0x10', { viaIfIndex: 7, flags: ['self', 'router'] }),
  ];
  const { dst, ...group } = entry('02:00:00:00:00:03', 'vx0', 'permanent', { nhid: 10 });
  entries.push(group);
  assert.equal(
    fdbText(entries, { oneDevice: true, ages: true }),
    '02:00:00:00:00:01 dst 192.0.2.7 port 5000 vni 77 src_vni 6 via v0 used 5/9 self \n' +
      '02:00:00:00:00:02 dst 192.0.2.7 via if7 used 5/9 self router state=0x10\n' +
      '02:00:00:00:00:03 nhid 10 used 5/9 self permanent\n',
  );
  assert.equal(
    JSON.stringify(fdbObjects(entries, { oneDevice: false, ages: true })),
    '[{"mac":"02:00:00:00:00:01","ifname":"vx0","dst":"192.0.2.7","port":5000,"vni":77,"src_vni":6,"viaIf":"v0","used":5,"updated":9,"flags":["self"],"state":""},' +
      '{"mac":"02:00:00:00:00:02","ifname":"vx0","dst":"192.0.2.7","viaIf":"if7","used":5,"updated":9,"flags":["self","router"],"state":"0x10"},' +
      '{"mac":"02:00:00:00:00:03","ifname":"vx0","nhid":10,"used":5,"updated":9,"flags":["self"],"state":"permanent"}]',
  );
});
