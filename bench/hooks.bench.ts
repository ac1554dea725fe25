/**
 * What a hook in WebAssembly costs: nanoseconds per packet of the firewall of examples/hooks, with a batch of 64 records,
 * as it is and made harmless, everything included from JavaScript's call on. The two take turns, so that what else the
 * machine does meets both.
 *
 *   node --import tsx bench/hooks.bench.ts [rules, 8] [batch, 64]
 */
import { HOOK_RECORD_BYTES } from '../assembly/layout.ts';
import { type FirewallRule, firewallRules } from '../examples/hooks/firewall-rules.ts';
import { compileHook, HookProgram } from '../src/dataplane/hook-program.ts';
import { compileAssembly } from '../test/support/asc.ts';
import { ethernet, ipv4 } from '../test/support/frames.ts';
import { writeRecord } from '../test/support/hook-records.ts';
import { udp } from '../test/support/messages.ts';
import { median } from './samples.ts';

const [RULES = 8, BATCH = 64] = process.argv.slice(2).map(Number);
const AREA = 0x200000;
const LOW = 0x400000;
const HIGH = 0x900000;
const RECORDS = HIGH - 0x4000;
const STRIDE = 2048;
const ROUNDS = 25;
const ROUND_MS = 40;

const memory = new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true });
const bytes = new Uint8Array(memory.buffer);
const view = new DataView(memory.buffer);

/** The last rule fits, those before it are looked at. */
function settings(): Uint8Array {
  const misses = Array.from({ length: RULES - 1 }, (_, index): FirewallRule => {
    return {
      action: 'drop',
      protocol: 6,
      destination: `10.${index}.0.0/16`,
      destinationPorts: [index, index + 10],
    };
  });
  return firewallRules([...misses, { action: 'pass', protocol: 17, source: '10.0.0.0/8' }], 'drop');
}

function fill(): void {
  for (let index = 0; index < BATCH; ++index) {
    const packet = ipv4(
      { source: '10.0.0.1', destination: '10.1.2.3' },
      udp({ sourcePort: index + 1 }, new Uint8Array(22)),
    );
    const frame = ethernet({}, packet);
    const address = LOW + index * STRIDE;
    bytes.set(frame, address);
    writeRecord(view, RECORDS + index * HOOK_RECORD_BYTES, { address, length: frame.length, ipOffset: 14 });
  }
}

function nanoseconds(run: () => unknown): number {
  const begin = performance.now();
  let batches = 0;
  while (performance.now() - begin < ROUND_MS) for (let count = 0; count < 100; ++count, ++batches) run();
  return ((performance.now() - begin) * 1e6) / (batches * BATCH);
}

fill();
const module = await compileAssembly('examples/hooks/firewall.ts', undefined, [
  '--importMemory',
  '--sharedMemory',
  '--maximumMemory',
  '65536',
  '--initialMemory',
  '1',
  '--enable',
  'threads',
]);
const compiled = compileHook(module);
const guarded = new HookProgram(compiled, memory, { area: AREA, low: LOW, high: HIGH });
guarded.configure(settings());
const plain = new WebAssembly.Instance(new WebAssembly.Module(module), { env: { memory } }).exports as {
  hook(records: number, count: number): void;
  configure(pointer: number, length: number): number;
};
const place = compiled.constants.get('SETTINGS')!;
bytes.set(settings(), place);
plain.configure(place, settings().length);

const kinds = { plain: () => plain.hook(RECORDS, BATCH), guarded: () => guarded.run(RECORDS, BATCH) };
const samples = { plain: [] as number[], guarded: [] as number[] };
for (let round = 0; round < ROUNDS; ++round) {
  samples.plain.push(nanoseconds(kinds.plain));
  samples.guarded.push(nanoseconds(kinds.guarded));
}
console.log(`firewall, ${RULES} rules, batch of ${BATCH}: ns per packet, median (least)`);
for (const [name, values] of Object.entries(samples)) {
  console.log(`  ${name.padEnd(8)} ${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)})`);
}
