/**
 * A stateless firewall by 5-tuple, as a hook: a function that is called once for each batch of packets that arrive, before
 * they are delivered. The first rule that fits decides; what no rule fits is dropped.
 *
 *   node firewall.js
 *
 * `hooks/firewall.ts` is the same in AssemblyScript: it runs in the daemon's threads (`vxlane hook add`), for a few
 * nanoseconds a packet, and can be replaced while packets pass.
 */
import { createDataplane } from 'vxlane/dataplane';
import { arpRequest, flowOf, udpFrame } from './frames.js';

/** @type {{ action: 'pass' | 'drop', src?: string, dst?: string, protocol?: string, dport?: number }[]} */
const RULES = [
  { action: 'drop', src: '10.0.0.66' },
  { action: 'pass', dst: '10.0.0.2', protocol: 'udp', dport: 53 },
];

/** @typedef {import('vxlane/dataplane').HookBatch} HookBatch */

/** @param {HookBatch} batch */
function firewall(batch) {
  while (batch.next()) {
    // What is not IP passes: without ARP nothing does.
    if (batch.l3 === 0) continue;
    const flow = flowOf(batch.bytes);
    const rule = flow && RULES.find((one) => fits(one, flow));
    if (rule?.action !== 'pass') batch.drop();
  }
}

/** @type {(rule: (typeof RULES)[number], flow: NonNullable<ReturnType<typeof flowOf>>) => boolean} */
function fits({ src, dst, protocol, dport }, flow) {
  return (
    (src ?? flow.src) === flow.src &&
    (dst ?? flow.dst) === flow.dst &&
    (protocol ?? flow.protocol) === flow.protocol &&
    (dport ?? flow.dport) === flow.dport
  );
}

const here = createDataplane();
here.addDevice({ name: 'vx0', vni: 42, address: '02:00:00:00:00:02', remote: '192.0.2.1' });
here.setHook('vx0', 'decap', firewall);

// Another host's dataplane makes the traffic.
const there = createDataplane();
there.addDevice({ name: 'vx0', vni: 42, address: '02:00:00:00:00:01', remote: '192.0.2.2' });

const ends = { to: '02:00:00:00:00:02', from: '02:00:00:00:00:01', dst: '10.0.0.2', sport: 40000 };
const traffic = {
  'a DNS query': udpFrame({ ...ends, src: '10.0.0.1', dport: 53 }),
  'NTP, which no rule fits': udpFrame({ ...ends, src: '10.0.0.1', dport: 123 }),
  'a DNS query of the banned host': udpFrame({ ...ends, src: '10.0.0.66', dport: 53 }),
  'an ARP request': arpRequest(ends.from, '10.0.0.1', '10.0.0.2'),
};
for (const [what, frame] of Object.entries(traffic)) {
  const [datagram] = there.encap('vx0', frame);
  const arrived = datagram ? here.decap(datagram.bytes, '192.0.2.1') : [];
  console.log(`${what}: ${arrived.length > 0 ? 'passes' : 'dropped'}`);
}

here.setHook('vx0', 'decap', undefined);
const [datagram] = there.encap('vx0', traffic['NTP, which no rule fits']);
const open = datagram ? here.decap(datagram.bytes, '192.0.2.1').length : 0;
console.log(`without the hook: ${open > 0 ? 'passes' : 'dropped'}`);
console.log(`drop_hook_received: ${here.counters('vx0').drop_hook_received}`);
