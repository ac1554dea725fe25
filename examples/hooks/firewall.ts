/**
 * A stateless firewall: rules by family, protocol, addresses and ports, the first that fits decides. AssemblyScript.
 *
 *   npx asc firewall.ts --runtime stub --use abort= --noAssert -O3 --converge -o firewall.wasm
 *   vxlane hook add dev vx0 decap firewall.wasm
 *
 * Its settings are made by firewall-rules.ts: u32 number of rules, u32 what becomes of packets that no rule fits
 * (0 pass, 1 drop), 8 bytes of nothing, then the rules. Until it has settings, everything is dropped. What is not IP
 * passes, because without ARP nothing does; IP whose headers are not whole is dropped. A rule with ports fits no later
 * fragment: those pass or not by rules without.
 *
 * COUNTERS: u64 packets for each rule, in their order; then those that no rule fitted, then those that were not whole.
 */
import { Flow } from '../../hooks/flow';
import { Packet } from '../../hooks/sdk';

const RULE_COUNT: u32 = 256;
const RULE_BYTES: usize = 80;
const HEAD_BYTES: usize = 16;
export const SETTINGS_BYTES: i32 = 20496;
export const SETTINGS: usize = memory.data(20496);
export const COUNTERS: usize = memory.data(2064);

const ANY: u32 = 0;

let rules: u32 = 0;
let dropsByDefault: bool = true;

/** A rule as it lies in the settings. Addresses of IPv4 are the first four bytes, and masked already. */
class Rule {
  /** 4, 6 or ANY; protocol or ANY; 0 pass, 1 drop; 1: it asks for ports */
  family: u8;
  protocol: u8;
  drops: u8;
  hasPorts: u8;
  sourcePortFirst: u16;
  sourcePortLast: u16;
  destinationPortFirst: u16;
  destinationPortLast: u16;
  reserved: u32;
  source0: u64;
  source1: u64;
  sourceMask0: u64;
  sourceMask1: u64;
  destination0: u64;
  destination1: u64;
  destinationMask0: u64;
  destinationMask1: u64;
}

export function hook(records: usize, count: i32): void {
  let packet = Packet.first(records);
  for (; count > 0; --count) {
    if (refuses(packet)) packet.drop();
    else packet.pass();
    packet = packet.next();
  }
}

/** @returns 1: the number of rules does not go with the number of bytes */
export function configure(pointer: usize, length: i32): i32 {
  rules = 0;
  dropsByDefault = true;
  if (<usize>length < HEAD_BYTES) return 1;
  const wanted = load<u32>(pointer);
  if (wanted > RULE_COUNT || <usize>length !== HEAD_BYTES + <usize>wanted * RULE_BYTES) return 1;
  dropsByDefault = load<u32>(pointer, 4) !== 0;
  rules = wanted;
  return 0;
}

function refuses(packet: Packet): bool {
  if (packet.ipOffset === 0 && !packet.isBare) return false;
  if (!Flow.read(packet)) {
    count(RULE_COUNT + 1);
    return true;
  }
  let rule = changetype<Rule>(SETTINGS + HEAD_BYTES);
  for (let index: u32 = 0; index < rules; ++index) {
    if (fits(rule)) {
      count(index);
      return rule.drops !== 0;
    }
    rule = changetype<Rule>(changetype<usize>(rule) + RULE_BYTES);
  }
  count(RULE_COUNT);
  return dropsByDefault;
}

function fits(rule: Rule): bool {
  if (rule.family !== ANY && rule.family !== Flow.family) return false;
  if (rule.protocol !== ANY && rule.protocol !== Flow.protocol) return false;
  if (rule.hasPorts !== 0 && !(Flow.hasPorts && fitsPorts(rule))) return false;
  if (rule.family === ANY) return true;
  const source = Flow.source;
  const destination = Flow.destination;
  if (Flow.family === 4) {
    return (
      (load<u32>(source) & <u32>rule.sourceMask0) === <u32>rule.source0 &&
      (load<u32>(destination) & <u32>rule.destinationMask0) === <u32>rule.destination0
    );
  }
  return (
    (load<u64>(source) & rule.sourceMask0) === rule.source0 &&
    (load<u64>(source, 8) & rule.sourceMask1) === rule.source1 &&
    (load<u64>(destination) & rule.destinationMask0) === rule.destination0 &&
    (load<u64>(destination, 8) & rule.destinationMask1) === rule.destination1
  );
}

function fitsPorts(rule: Rule): bool {
  const source = Flow.sourcePort;
  const destination = Flow.destinationPort;
  return (
    source >= rule.sourcePortFirst &&
    source <= rule.sourcePortLast &&
    destination >= rule.destinationPortFirst &&
    destination <= rule.destinationPortLast
  );
}

function count(index: u32): void {
  const at = COUNTERS + ((<usize>index) << 3);
  store<u64>(at, load<u64>(at) + 1);
}
