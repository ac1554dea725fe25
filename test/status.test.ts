/** A device's statistics: every counter is where the kernel's driver counts that event, or nowhere. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AF_INET, AF_INET6, COUNTER_BYTES, COUNTER_ROW_BYTES, COUNTERS_OFFSET } from '../assembly/layout.ts';
import { COUNTERS, type CounterName } from '../src/dataplane/counters.ts';
import { createMemory, viewsOf, workerBase } from '../src/dataplane/memory.ts';
import type { Device } from '../src/vtep/device.ts';
import { deviceInfo } from '../src/vtep/status.ts';
import { deviceConfig } from './support/device-config.ts';

/** What one event adds to `rx.*` and `tx.*`. */
function effect(counter: CounterName, family: Device['family']): string {
  const views = viewsOf(createMemory(2));
  const device = { index: 3, config: deviceConfig(), family, ifindex: 1, up: true } as unknown as Device;
  for (const [worker, amount] of [
    [0, 2n],
    [1, 1n],
  ] as const) {
    const row = workerBase(worker) + COUNTERS_OFFSET + device.index * COUNTER_ROW_BYTES;
    views.view.setBigUint64(row + COUNTERS[counter] * COUNTER_BYTES, amount, true);
  }
  const { rx, tx } = deviceInfo({ views, policies: { ofDevice: () => undefined } }, 2, device).stats;
  const shown = Object.entries({ rx, tx }).flatMap(([direction, stats]) =>
    Object.entries(stats).flatMap(([key, value]) => {
      assert.ok(value === 0 || value === 3, `${counter}: ${direction}.${key} is ${value}`);
      return value === 3 ? [`${direction}.${key}`] : [];
    }),
  );
  return shown.sort().join(' ');
}

const CARRIER = 'tx.carrier_errors tx.errors';
const FRAME = 'rx.errors rx.frame_errors';
const EXPECTED: Partial<Record<CounterName, string>> = {
  encap_packets: 'tx.packets',
  encap_bytes: 'tx.bytes',
  decap_packets: 'rx.packets',
  decap_bytes: 'rx.bytes',
  drop_no_target: 'tx.dropped',
  drop_short_inner_ip: 'tx.dropped',
  drop_no_remote: 'tx.dropped',
  drop_no_nexthop: 'tx.dropped',
  drop_short_request: 'tx.dropped',
  drop_socket_full: 'tx.dropped',
  drop_no_buffers: 'tx.dropped',
  drop_short_frame: 'tx.dropped',
  drop_bad_offload: 'tx.dropped',
  drop_too_big: 'tx.dropped',
  drop_unreachable: CARRIER,
  drop_route_loop: 'tx.collisions tx.errors',
  drop_unknown_local_vni: 'tx.errors',
  drop_send_error: 'tx.errors',
  drop_unknown_protocol: 'tx.errors',
  drop_reserved_bits: FRAME,
  drop_ecn: FRAME,
  drop_short_inner_ip_received: 'rx.errors rx.length_errors',
  drop_device_down: 'rx.dropped',
  drop_tap_write: 'rx.dropped',
  drop_policy: 'rx.dropped',
  drop_unknown_sender: 'rx.dropped',
  drop_unknown_peer: 'rx.dropped',
  drop_peer_address: 'rx.dropped',
  drop_peer_subnet: 'rx.dropped',
  // As a driver counts what its XDP program drops.
  drop_hook: 'tx.dropped',
  drop_hook_fault: 'tx.dropped',
  drop_hook_target: 'tx.dropped',
  drop_hook_received: 'rx.dropped',
  drop_hook_fault_received: 'rx.dropped',
  drop_hook_target_received: 'rx.dropped',
  drop_hook_forward: 'rx.dropped',
  drop_hook_stopped: 'tx.dropped',
  drop_hook_stopped_received: 'rx.dropped',
};

describe('statistics', () => {
  it('count each event where the kernel does, over all workers', () => {
    for (const counter of Object.keys(COUNTERS) as CounterName[]) {
      assert.equal(effect(counter, AF_INET), EXPECTED[counter] ?? '', counter);
    }
  });

  it('what does not fit through an IPv6 underlay is an aborted error', () => {
    assert.equal(effect('drop_too_big', AF_INET6), 'tx.aborted_errors tx.errors');
  });
});
