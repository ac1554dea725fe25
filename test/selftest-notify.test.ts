/** Linux's selftest "fdb notify", from its description: one line of `bridge monitor fdb` for each change. */
import assert from 'node:assert/strict';
import { type Place, twice } from './support/selftest.ts';

const MAC = '02:00:00:00:00:01';

/** Lines of shell that end when the monitor has told of an entry of the kernel's and of one of the tunnel, where there is one. */
function until(mac: string): string[] {
  const own = mac.replace(':ff:', ':fe:');
  return [
    'for turn in $(seq 50); do',
    `  bridge fdb replace ${mac} dev probe self local 2>/dev/null`,
    `  bridge fdb del ${mac} dev probe self 2>/dev/null`,
    `  bridge fdb replace ${own} dev vx0 dst 192.0.2.250 self 2>/dev/null && tunnel=${own} || tunnel=`,
    `  bridge fdb del ${own} dev vx0 dst 192.0.2.250 self 2>/dev/null`,
    '  sleep 0.1',
    `  grep -q ${mac} "$file" && grep -q "$tunnel" "$file" && break`,
    'done',
  ];
}

/** Runs a line of shell under a monitor and returns what the monitor said of the MAC. */
function heard(place: Place, script: string, what = 'fdb'): string[] {
  // The monitor is up when it has told of probes, and at its end when it has told of others; the lines between are asked for.
  const { code, out, err } = place.quietly(
    [
      'file=$(mktemp)',
      `bridge monitor ${what} >"$file" 2>&1 &`,
      'monitor=$!',
      'ip link add probe type bridge',
      ...until('02:ff:00:00:00:01'),
      `(${script}) || echo "failed: ${'$'}?" >&2`,
      ...until('02:ff:00:00:00:02'),
      'kill $monitor',
      'wait $monitor 2>/dev/null',
      'ip link del probe',
      `grep ${MAC} "$file"`,
      'rm -f "$file"',
    ].join('\n'),
  );
  assert.equal(code, 0, err);
  assert.doesNotMatch(err, /failed/);
  const lines = out.split('\n').filter((line) => line !== '');
  place.note(script, lines);
  return lines;
}

function device(place: Place): void {
  place.ok('ip link add vx0 type vxlan id 10 dstport 4789', 'ip link set vx0 up');
}

function bridged(place: Place): void {
  device(place);
  place.ok('ip link add br0 type bridge', 'ip link set vx0 master br0', 'ip link set br0 up');
}

const one = (lines: string[], words: RegExp) => {
  assert.equal(lines.length, 1, lines.join('\n'));
  assert.match(lines[0]!, words);
};

twice('fdb notify', [
  {
    name: 'an entry of the tunnel, added and deleted: one line each',
    steps(place) {
      device(place);
      one(
        heard(place, `bridge fdb add ${MAC} dev vx0 dst 192.0.2.2 self`),
        /dev vx0 dst 192\.0\.2\.2 self permanent/,
      );
      one(
        heard(place, `bridge fdb del ${MAC} dev vx0 self`),
        /^Deleted .*dev vx0 dst 192\.0\.2\.2 self permanent/,
      );
    },
  },
  {
    name: 'neither self nor master said: one line each',
    steps(place) {
      device(place);
      one(heard(place, `bridge fdb add ${MAC} dev vx0 dst 192.0.2.2`), /self permanent/);
      one(heard(place, `bridge fdb del ${MAC} dev vx0`), /^Deleted/);
    },
  },
  {
    name: 'an entry of the bridge above the tunnel: one line each',
    steps(place) {
      bridged(place);
      one(heard(place, `bridge fdb add ${MAC} dev vx0 master static`), /dev vx0 master br0 static/);
      one(heard(place, `bridge fdb del ${MAC} dev vx0 master`), /^Deleted/);
    },
  },
  {
    name: 'both at once: one line of each table',
    steps(place) {
      bridged(place);
      const added = heard(place, `bridge fdb add ${MAC} dev vx0 dst 192.0.2.2 self master static`);
      assert.equal(added.filter((line) => line.includes('master br0')).length, 1);
      assert.equal(added.length, 2);
    },
  },
  {
    name: 'entries of interfaces that are not ours: one line each',
    steps(place) {
      device(place);
      place.ok('ip link add br0 type bridge', 'ip link set br0 up');
      one(heard(place, `bridge fdb add ${MAC} dev br0 self local`), /dev br0 .*permanent/);
      one(heard(place, `bridge fdb del ${MAC} dev br0 self`), /^Deleted/);
    },
  },
  {
    name: 'a replacement that changes something is one line, one that changes nothing none',
    steps(place) {
      device(place);
      place.ok(`bridge fdb add ${MAC} dev vx0 dst 192.0.2.2`);
      one(heard(place, `bridge fdb replace ${MAC} dev vx0 dst 192.0.2.3`), /dst 192\.0\.2\.3/);
      const { out } = place.quietly(`bridge fdb show dev vx0 | grep ${MAC}`);
      assert.match(out, /192\.0\.2\.3/);
    },
  },
  {
    name: 'a flush is one line for each entry that goes',
    steps(place) {
      device(place);
      place.ok(
        `bridge fdb add ${MAC} dev vx0 dst 192.0.2.2`,
        `bridge fdb add 02:00:00:00:00:02 dev vx0 dst 192.0.2.2`,
      );
      one(heard(place, 'bridge fdb flush dev vx0'), /^Deleted/);
    },
  },
  {
    name: '`monitor all` says of what it speaks',
    steps(place) {
      device(place);
      const lines = heard(place, `bridge fdb add ${MAC} dev vx0 dst 192.0.2.2`, 'all');
      one(lines, /^\[NEIGH\]/);
    },
  },
]);
