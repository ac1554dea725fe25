/**
 * A stateless firewall: rules by family, protocol, addresses and ports, the first that fits decides. AssemblyScript.
 *
 *   npx asc firewall.ts --runtime stub --use abort= --noAssert -O3 --converge --enable simd -o firewall.wasm
 *   vxlane hook add dev vx0 decap firewall.wasm rules firewall.rules
 *
 * Its settings are made by firewall-rules.ts: u32 number of rules, u32 what becomes of packets that no rule fits
 * (0 pass, 1 drop), 8 bytes of nothing, then the rules. Until it has settings, everything is dropped. What is not IP
 * passes, because without ARP nothing does; IP whose headers are not whole is dropped. A rule with ports fits no later
 * fragment: those pass or not by rules without.
 *
 * A packet becomes a key of eight numbers of 16 bits, and a rule says of each between which two it must be, once bits that
 * it does not ask for are taken away: so a rule is held against a packet by a handful of vector instructions.
 *
 * COUNTERS: u64 packets for each rule, in their order; then those that no rule fitted, then those that were not whole.
 */
import { Flow } from '../../hooks/flow';
import { Packet } from '../../hooks/sdk';

const RULE_COUNT: u32 = 256;
const RULE_BYTES: usize = 128;
const HEAD_BYTES: usize = 16;
export const SETTINGS_BYTES: i32 = 32784;
export const SETTINGS: usize = memory.data(32784);
export const COUNTERS_BYTES: i32 = 2064;
export const COUNTERS: usize = memory.data(2064);

/*
 * The key: addresses of IPv4, source first, in network order (0 of IPv6); source port, destination port (0 where there are
 * none); protocol, and family above it; 1: it has ports. A rule, with vectors as the key's: mask, least, most; then
 * u8 family (6: addresses follow), u8 1 = drops; of IPv6 source, its mask, destination, its mask.
 */
const MOST: usize = 32;
const LEAST: usize = 16;
const FAMILY: usize = 48;
const DROPS: usize = 49;
const SOURCE: usize = 64;
const SOURCE_MASK: usize = 80;
const DESTINATION: usize = 96;
const DESTINATION_MASK: usize = 112;

let rules: u32 = 0;
let dropsByDefault: bool = true;

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
  const rule = ruleFor(keyOf());
  if (rule === 0) {
    count(RULE_COUNT);
    return dropsByDefault;
  }
  count(<u32>((rule - SETTINGS - HEAD_BYTES) / RULE_BYTES));
  return load<u8>(rule, DROPS) !== 0;
}

/** @returns its address, 0 = there is none */
function ruleFor(key: v128): usize {
  const end = SETTINGS + HEAD_BYTES + <usize>rules * RULE_BYTES;
  for (let rule = SETTINGS + HEAD_BYTES; rule < end; rule += RULE_BYTES) {
    const seen = v128.and(key, v128.load(rule));
    const held = v128.min<u16>(v128.max<u16>(seen, v128.load(rule, LEAST)), v128.load(rule, MOST));
    if (v128.any_true(v128.xor(held, seen))) continue;
    if (load<u8>(rule, FAMILY) !== 6 || fitsAddresses(rule)) return rule;
  }
  return 0;
}

function keyOf(): v128 {
  let ports: u64 = 0;
  if (Flow.hasPorts) ports = ((<u64>1) << 48) | Flow.sourcePort | (Flow.destinationPort << 16);
  const rest = ports | ((<u64>Flow.protocol) << 32) | ((<u64>Flow.family) << 40);
  const addresses = Flow.family === 4 ? load<u64>(Flow.source) : 0;
  return i64x2.replace_lane(i64x2.splat(addresses), 1, rest);
}

/** Of IPv6. */
function fitsAddresses(rule: usize): bool {
  const source = v128.and(v128.load(Flow.source), v128.load(rule, SOURCE_MASK));
  const destination = v128.and(v128.load(Flow.destination), v128.load(rule, DESTINATION_MASK));
  const differs = v128.or(
    v128.xor(source, v128.load(rule, SOURCE)),
    v128.xor(destination, v128.load(rule, DESTINATION)),
  );
  return !v128.any_true(differs);
}

function count(index: u32): void {
  const at = COUNTERS + ((<usize>index) << 3);
  store<u64>(at, load<u64>(at) + 1);
}
