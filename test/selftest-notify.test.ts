/** Linux's selftest "fdb notify", from its description: one line of `bridge monitor fdb` for each change. */
import assert from 'node:assert/strict';
import { type Place, twice } from './support/selftest.ts';

const MAC = '02:00:00:00:00:01';

/** Runs a line of shell under a monitor and returns what the monitor said of the MAC. */
function heard(place: Place, script: string, what = 'fdb'): string[] {
  // The monitor is up when it has told of a probe; the other lines are what is asked for.
  const { code, out, err } = place.quietly(
    [
      'file=$(mktemp)',
      `bridge monitor ${what} >"$file" 2>&1 &`,
      'monitor=$!',
      'ip link add probe type bridge',
      'for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do',
      '  bridge fdb replace 02:ff:00:00:00:01 dev probe self local 2>/dev/null',
      '  bridge fdb del 02:ff:00:00:00:01 dev probe self 2>/dev/null',
      '  grep -q 02:ff:00:00:00:01 "$file" && break',
      '  sleep 0.1',
      'done',
      `(${script}) || echo "failed: ${'$'}?" >&2`,
      'sleep 0.3',
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
