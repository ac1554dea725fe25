/** Linux's selftest "vxlan mdb", its control path, from its description. */
import assert from 'node:assert/strict';
import { type Place, twice } from './support/selftest.ts';

const ONLY = 'bridge of iproute2 6.1 lacks the words';

interface Family {
  name: string;
  grp: string;
  other: string;
  src: string;
  sources: readonly string[];
  all: string;
  linkLocal: string;
}

const OVERLAYS: readonly Family[] = [
  {
    name: 'IPv4',
    grp: '239.1.1.1',
    other: '239.1.1.2',
    src: '192.0.2.129',
    sources: ['192.0.2.1', '192.0.2.2'],
    all: '0.0.0.0',
    linkLocal: '224.0.0.1',
  },
  {
    name: 'IPv6',
    grp: 'ff0e::1',
    other: 'ff0e::2',
    src: '2001:db8:100::1',
    sources: ['2001:db8:1::1', '2001:db8:1::2'],
    all: '::',
    linkLocal: 'ff02::1',
  },
];
const UNDERLAYS = [
  { name: 'IPv4', local: '198.51.100.1', dst: '198.51.100.100', dst2: '198.51.100.200', group: '239.9.9.9' },
  { name: 'IPv6', local: '2001:db8:9::1', dst: '2001:db8:9::100', dst2: '2001:db8:9::200', group: 'ff0e::9' },
] as const;

type Underlay = (typeof UNDERLAYS)[number];

interface Listed {
  grp: string;
  src?: string;
  dst?: string;
  filter_mode?: string;
  source_list?: { address: string }[];
  protocol?: string;
  dst_port?: number;
  vni?: number;
  src_vni?: number;
  via?: string;
  flags?: string[];
}

function listed(place: Place, words = 'show dev vx0'): Listed[] {
  const { code, out, err } = place.quietly(`bridge -j -d mdb ${words}`);
  assert.equal(code, 0, err);
  // A list holds its entries in an object; what was asked for one by one stands alone.
  const parsed = JSON.parse(out || '[]') as ({ mdb?: Listed[] } & Listed)[];
  return parsed.flatMap((found) => found.mdb ?? [found]);
}

function device(place: Place, underlay: Underlay, words = 'id 10'): void {
  place.ok(`ip link add vx0 type vxlan ${words} local ${underlay.local} dstport 4789`, 'ip link set vx0 up');
}

const key = (place: Place, words: string) =>
  listed(place).filter((entry) => JSON.stringify(entry).includes(words));

twice(
  'mdb control',
  OVERLAYS.flatMap((overlay) =>
    UNDERLAYS.map((underlay) => ({
      name: `${overlay.name} groups over ${underlay.name}`,
      only: ONLY,
      steps(place: Place) {
        const { grp, other, src, sources, all, linkLocal } = overlay;
        const { dst, dst2 } = underlay;
        const entry = (verb: string, words: string) => `bridge mdb ${verb} dev vx0 port vx0 ${words}`;
        device(place, underlay);

        // What an entry has when only the needful is said.
        place.ok(entry('add', `grp ${grp} permanent dst ${dst}`));
        const [first] = listed(place);
        assert.equal(listed(place).length, 1);
        assert.equal(first?.grp, grp);
        assert.equal(first?.dst, dst);
        assert.equal(first?.filter_mode, 'exclude');
        assert.equal(first?.protocol, 'static');
        for (const absent of ['src', 'dst_port', 'vni', 'via'] as const)
          assert.equal(first?.[absent], undefined);

        // Twice is refused, replaced is not; one more remote is one more line.
        place.refused(255, entry('add', `grp ${grp} permanent dst ${dst}`), /already exists/);
        place.ok(entry('replace', `grp ${grp} permanent dst ${dst} dst_port 5000 vni 20 proto bgp`));
        assert.equal(listed(place).length, 1);
        const [replaced] = listed(place);
        assert.equal(replaced?.dst_port, 5000);
        assert.equal(replaced?.vni, 20);
        assert.equal(replaced?.protocol, 'bgp');
        place.ok(entry('add', `grp ${grp} permanent dst ${dst2}`));
        assert.equal(key(place, `"${grp}"`).length, 2);

        // Asked for one by one.
        assert.equal(listed(place, `get dev vx0 grp ${grp}`).length, 2);
        place.refused(254, `bridge mdb get dev vx0 grp ${other}`, /MDB entry not found/);
        place.refused(254, `bridge mdb get dev vx0 grp ${grp} src ${src}`, /MDB entry not found/);

        // Deleted remote by remote, and not what is not there.
        place.ok(entry('del', `grp ${grp} permanent dst ${dst}`));
        assert.equal(key(place, `"${grp}"`).length, 1);
        place.refused(255, entry('del', `grp ${grp} permanent dst ${dst}`), /Did not find MDB remote entry/);
        place.ok(entry('del', `grp ${grp} permanent dst ${dst2}`));
        place.refused(255, entry('del', `grp ${grp} permanent dst ${dst2}`), /Did not find MDB entry/);
        assert.deepEqual(listed(place), []);

        // A source of its own; source lists make the entries of their sources.
        place.ok(entry('add', `grp ${grp} src ${src} permanent dst ${dst}`));
        assert.equal(listed(place)[0]?.src, src);
        place.ok(entry('del', `grp ${grp} src ${src} permanent dst ${dst}`));
        for (const mode of ['include', 'exclude']) {
          place.ok(
            entry(
              'add',
              `grp ${grp} permanent filter_mode ${mode} source_list ${sources.join(',')} dst ${dst}`,
            ),
          );
          const star = listed(place).find((one) => one.src === undefined);
          assert.equal(star?.filter_mode, mode);
          assert.deepEqual(star?.source_list?.map(({ address }) => address).sort(), [...sources].sort());
          const made = listed(place).filter((one) => one.src !== undefined);
          assert.deepEqual(made.map((one) => one.src).sort(), [...sources].sort());
          for (const one of made) assert.equal(one.flags?.includes('blocked') ?? false, mode === 'exclude');
          place.ok(entry('del', `grp ${grp} permanent dst ${dst}`));
          assert.deepEqual(listed(place), []);
        }

        // All that have no entry of their own; what may be said of it.
        place.ok(entry('add', `grp ${all} permanent dst ${dst}`));
        place.refused(255, entry('add', `grp ${all} src ${src} permanent dst ${dst}`), /all-zeros entry/);
        place.ok(entry('del', `grp ${all} permanent dst ${dst}`));

        // Refusals, none of which leaves anything behind.
        const refusals: readonly [words: string, reason: RegExp][] = [
          [`grp ${grp} dst ${dst}`, /MDB entry must be permanent/],
          [`grp ${grp} temp dst ${dst}`, /MDB entry must be permanent|Only permanent/],
          [`grp ${grp} permanent`, /Missing/],
          [`grp ${linkLocal} permanent dst ${dst}`, /link-local all nodes|local multicast/],
          [`grp ${src} permanent dst ${dst}`, /not multicast/],
          [`grp ${grp} permanent vid 10 dst ${dst}`, /VID must not be specified/],
          [`grp ${grp} permanent filter_mode include dst ${dst}`, /INCLUDE with an empty source list/],
          [`grp ${grp} permanent source_list ${sources[0]} dst ${dst}`, /Source list cannot be set without/],
          [
            `grp ${grp} src ${src} permanent filter_mode include dst ${dst}`,
            /Filter mode can only be set for \(\*, G\)/,
          ],
          [`grp ${grp} permanent dst ${dst} vni 16777216`, /vni|VNI|out of range/i],
          [`grp ${grp} permanent dst ${dst} src_vni 16777216`, /vni|VNI|out of range/i],
          [`grp ${grp} permanent dst nonsense`, /dst|address/],
          [`grp ${grp} permanent dst ${dst} dst_port 65536`, /port/],
          [`grp ${grp} permanent dst ${dst} via nope`, /nope|via|device/i],
          [`grp 02:00:00:00:00:01 permanent dst ${dst}`, /IPv4 \/ IPv6 address|multicast/],
        ];
        for (const [words, reason] of refusals) {
          place.refused(255, entry('add', words), reason);
          assert.deepEqual(listed(place), [], words);
        }
        place.ok('ip link add br0 type bridge');
        place.refused(255, `bridge mdb add dev vx0 port br0 grp ${grp} permanent dst ${dst}`);
        assert.deepEqual(listed(place), []);
      },
    })),
  ),
);

twice('mdb dump and flush', [
  {
    name: 'hundreds of entries are listed whole, and flushed by what they have',
    only: ONLY,
    steps(place) {
      device(place, UNDERLAYS[0], 'external');
      const lines = Array.from({ length: 256 }, (_, n) =>
        [100, 200].map(
          (vni) =>
            `mdb add dev vx0 port vx0 grp 239.2.${n >> 7}.${(n & 127) + 1} permanent src_vni ${vni} ` +
            `proto ${n % 2 ? 'bgp' : 'zebra'} dst 198.51.100.${(n % 4) + 1} vni ${vni + (n % 2)} dst_port ${5000 + (n % 2)}`,
        ),
      ).flat();
      place.ok(`bridge -batch - <<'END'\n${lines.join('\n')}\nEND`);
      assert.equal(listed(place).length, 512);
      const flush = (words: string, left: number) => {
        place.ok(`bridge mdb flush dev vx0 ${words}`);
        assert.equal(listed(place).length, left, words);
      };
      flush('src_vni 300', 512);
      flush('src_vni 200', 256);
      flush('dst 198.51.100.1', 192);
      flush('proto bgp', 64);
      flush('vni 101', 64);
      flush('dst_port 5001', 64);
      place.refused(255, 'bridge mdb flush dev vx0 nopermanent', /Only permanent MDB entries are supported/);
      assert.equal(listed(place).length, 64);
      flush('dst_port 5000 vni 999', 64);
      flush('permanent', 0);
    },
  },
]);
