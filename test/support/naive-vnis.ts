/**
 * What VNIs of two external devices should be after any commands, said as simply as can be: one with `vnifilter`
 * (vx1), one without (vx4). Checked against the memory by look-ups.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { VniFixture } from './vni-fixture.ts';

const VNIS = 12;
const VLANS = 8;
const LISTENERS = [1, 2];
const DEFAULTS = ['192.0.2.2', '192.0.2.3', undefined];
const OWN = ['192.0.2.5', '192.0.2.6', '239.1.1.1', '239.1.1.2', undefined];

export type Step = { dev: 'vx1' | 'vx4' } & (
  | { do: 'add'; first: number; last: number; own: string | undefined }
  | { do: 'del'; first: number; last: number }
  | { do: 'map'; vlan: number; vni: number; count: number; pvid: boolean; untagged: boolean }
  | { do: 'unmap'; first: number; last: number }
  | { do: 'open' }
  | { do: 'close' }
  | { do: 'remote'; remote: string | undefined }
);

export function steps(): fc.Arbitrary<Step> {
  const dev = fc.constantFrom('vx1' as const, 'vx1' as const, 'vx4' as const);
  const vni = fc.integer({ min: 1, max: VNIS });
  const vlan = fc.integer({ min: 1, max: VLANS });
  return fc.oneof(
    fc.record({ dev, do: fc.constant('add' as const), first: vni, last: vni, own: fc.constantFrom(...OWN) }),
    fc.record({ dev, do: fc.constant('del' as const), first: vni, last: vni }),
    fc.record({
      dev,
      do: fc.constant('map' as const),
      vlan,
      vni,
      count: fc.integer({ min: 1, max: 2 }),
      pvid: fc.boolean(),
      untagged: fc.boolean(),
    }),
    fc.record({ dev, do: fc.constant('unmap' as const), first: vlan, last: vlan }),
    fc.record({ dev, do: fc.constant('open' as const) }),
    fc.record({ dev, do: fc.constant('close' as const) }),
    fc.record({ dev, do: fc.constant('remote' as const), remote: fc.constantFrom(...DEFAULTS) }),
  );
}

interface Device {
  index: number;
  /** VNI -> its own destination. */
  listed: Map<number, string | undefined>;
  /** VLAN -> VNI */
  vlans: Map<number, number>;
  pvid: number | undefined;
  untagged: Set<number>;
  remote: string | undefined;
  open: boolean;
}

const newDevice = (index: number): Device => ({
  index,
  listed: new Map(),
  vlans: new Map(),
  pvid: undefined,
  untagged: new Set(),
  remote: undefined,
  open: false,
});

function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, step) => first + step);
}

export class NaiveVnis {
  readonly #devices = { vx1: newDevice(1), vx4: newDevice(4) };

  /** @returns whether it is refused; nothing has changed then */
  apply(step: Step): boolean {
    const device = this.#devices[step.dev];
    switch (step.do) {
      case 'add':
        if (step.dev === 'vx4') return true;
        for (const vni of range(step.first, step.last)) device.listed.set(vni, step.own);
        return false;
      case 'del': {
        const vnis = range(step.first, step.last);
        if (step.dev === 'vx4' || vnis.some((vni) => !device.listed.has(vni))) return true;
        for (const vni of vnis) device.listed.delete(vni);
        return false;
      }
      case 'map':
        return this.#map(device, step);
      case 'unmap':
        if (step.first > step.last) return true;
        for (const vlan of range(step.first, step.last)) {
          device.vlans.delete(vlan);
          device.untagged.delete(vlan);
          if (device.pvid === vlan) device.pvid = undefined;
        }
        return false;
      case 'open':
      case 'close':
        device.open = step.do === 'open';
        return false;
      case 'remote':
        device.remote = step.remote;
        return false;
    }
  }

  #map(device: Device, step: Step & { do: 'map' }): boolean {
    if (step.count > 1 && step.pvid) return true;
    const pairs = range(0, step.count - 1).map((more) => [step.vlan + more, step.vni + more] as const);
    for (const [vlan, vni] of pairs) {
      const is = device.vlans.get(vlan) === vni;
      const adds = (step.pvid && device.pvid !== vlan) || (step.untagged && !device.untagged.has(vlan));
      if (is ? !adds : device.vlans.has(vlan) || [...device.vlans.values()].includes(vni)) return true;
    }
    for (const [vlan, vni] of pairs) {
      device.vlans.set(vlan, vni);
      if (step.pvid) device.pvid = vlan;
      if (step.untagged) device.untagged.add(vlan);
    }
    return false;
  }

  drive(step: Step, at: VniFixture): void {
    const { dev } = step;
    const { index } = this.#devices[dev];
    switch (step.do) {
      case 'add': {
        const key = step.own?.startsWith('239.') ? 'group' : 'remote';
        at.vni('add', dev, `${step.first}-${step.last}`, step.own ? { [key]: step.own } : {});
        break;
      }
      case 'del':
        at.vni('del', dev, `${step.first}-${step.last}`);
        break;
      case 'map': {
        const { vlan, vni, count, pvid, untagged } = step;
        const flags = { pvid, untagged };
        at.vlan('add', dev, `${vlan}-${vlan + count - 1}`, `${vni}-${vni + count - 1}`, flags);
        break;
      }
      case 'unmap':
        at.vlan('del', dev, `${step.first}-${step.last}`, '1');
        break;
      case 'open':
        at.vnis.open(index, index === 1 ? LISTENERS : [3]);
        break;
      case 'close':
        at.vnis.close(index);
        break;
      case 'remote':
        at.vnis.setRemote(index, step.remote ? { address: step.remote, ifindex: 0 } : undefined);
        break;
    }
  }

  check(at: VniFixture): void {
    const { exports } = at.engine;
    const groups = new Set<string>();
    for (const [name, { index, listed, vlans, pvid, untagged, remote, open }] of Object.entries(
      this.#devices,
    )) {
      const vlanOf = new Map([...vlans].map(([vlan, vni]) => [vni, vlan]));
      const lines: string[] = [];
      const defaults: string[] = [];
      for (const vni of range(1, VNIS + 1)) {
        const vlan = vlanOf.get(vni);
        const received = open && (name === 'vx1' ? listed.has(vni) : vlan !== undefined);
        for (const listener of index === 1 ? LISTENERS : [3]) {
          const found = exports.vniLookup(listener, vni);
          assert.equal(found, received ? at.vnis.domainOf(index, vni) : 0);
          assert.equal(found !== 0, received);
        }
        if (vlan === undefined && !listed.has(vni)) continue;
        const own = listed.get(vni);
        const words = [vni, listed.has(vni) && 'listed', own, vlan && `vlan ${vlan}`];
        if (vlan !== undefined) words.push(pvid === vlan && 'pvid', untagged.has(vlan) && 'untagged');
        lines.push(words.filter(Boolean).join(' '));
        if (!listed.has(vni)) continue;
        const to = own ?? remote;
        // A destination of its own leaves through `dev`.
        if (to) defaults.push(`${vni} dst ${to} vni ${vni}${own ? ' via 3' : ''}`);
        if (open && own?.startsWith('239.')) groups.add(`${index} ${own}`);
      }
      assert.deepEqual(at.lines(name), lines);
      assert.deepEqual(at.defaults(name), defaults.sort());
      for (const vlan of range(1, VLANS + 1)) {
        const vni = vlans.get(vlan);
        assert.equal(exports.vniOfVlan(index, vlan), vni === undefined ? 0 : at.vnis.domainOf(index, vni));
      }
      const of = pvid === undefined ? 0 : at.vnis.domainOf(index, vlans.get(pvid)!);
      assert.equal(exports.vniOfVlan(index, 0), of);
    }
    assert.deepEqual([...at.groups].sort(), [...groups].sort());
  }
}
