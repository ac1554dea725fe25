/**
 * The sink: what its walk costs a packet in memory, beside the same in plain TypeScript; or, with --e2e as root, the
 * highest rate it loses nothing at, beside `tcpdump -w` of the same traffic, in turns. `mix` is a pcap that is replayed:
 * inner packets of 64, 576 and 1400 bytes (7 to 4 to 1), of 64 VNIs; what the sink has written of it is compared with
 * what was sent, packet by packet. PCAP is a file of your own.
 *
 *   node --import tsx bench/sink.bench.ts [--e2e [BYTES | mix | PCAP ...]]
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  SINK_OUTPUT_BASE,
  SINK_RECEIVE_COUNT,
  SINK_STATE_BASE,
  SINK_STATE_NEXT_OFFSET,
} from '../assembly/sink-layout.ts';
import { payloadsOf, writePcap } from '../test/support/pcap.ts';
import { readCapture } from '../test/support/pcapng.ts';
import { feed, recorderOf } from '../test/support/sink-feed.ts';

const ROUNDS = 20_000;
const TURNS = 5;
const STEPS = 5;
const RATE_MIN = 150_000;
const RATE_MAX = 1_200_000;
const SECONDS = 1;
const SETTLE_MS = 1300;
/** The sink needs no rights, and gets the socket buffer of somebody without (net.core.rmem_max). */
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];
const ROOT = fileURLToPath(new URL('..', import.meta.url));

const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;

function datagram(bytes: number, vni: number): Uint8Array {
  const data = new Uint8Array(8 + bytes);
  data.set([8, 0, 0, 0, 0, 0, vni, 0]);
  data.set([8, 0, 0x45, 0, (bytes - 14) >> 8, (bytes - 14) & 255], 20);
  return data;
}

/** What a Node program would write: a Map for interfaces, a DataView, a copy. */
function plainWalk(datagrams: Uint8Array[], out: Uint8Array, view: DataView, map: Map<string, number>): void {
  let at = 0;
  for (const data of datagrams) {
    if (data.length < 22 || (data[0]! & 8) === 0) continue;
    const vni = (data[4]! << 16) | (data[5]! << 8) | data[6]!;
    const key = `${vni} 192.0.2.1`;
    let id = map.get(key);
    if (id === undefined) {
      id = map.size + 1;
      map.set(key, id);
    }
    const length = data.length - 8;
    const padded = (length + 3) & ~3;
    const original = Math.max(length, 14 + ((data[24]! << 8) | data[25]!));
    view.setUint32(at, 6, true);
    view.setUint32(at + 4, padded + 32, true);
    view.setUint32(at + 8, id, true);
    view.setBigUint64(at + 12, 1n, true);
    view.setUint32(at + 20, length, true);
    view.setUint32(at + 24, original, true);
    out.set(data.subarray(8), at + 28);
    view.setUint32(at + 28 + padded, padded + 32, true);
    at += padded + 32;
  }
}

function walks(): void {
  console.log('inner bytes   AssemblyScript   TypeScript   ns per packet, batches of 64, 8 VNIs');
  for (const bytes of [64, 512, 1400]) {
    const { recorder } = recorderOf();
    const datagrams = Array.from({ length: SINK_RECEIVE_COUNT }, (_, index) => datagram(bytes, index % 8));
    feed(
      recorder.walk,
      datagrams.map((data) => ({ source: '192.0.2.1', datagrams: [data], time: 1n })),
    );
    const out = new Uint8Array(1 << 20);
    const view = new DataView(out.buffer);
    const map = new Map<string, number>();
    const times: [number[], number[]] = [[], []];
    for (let turn = 0; turn < TURNS; ++turn) {
      let start = performance.now();
      for (let round = 0; round < ROUNDS; ++round) {
        recorder.walk.view.setUint32(SINK_STATE_BASE + SINK_STATE_NEXT_OFFSET, SINK_OUTPUT_BASE, true);
        recorder.walk.run(SINK_RECEIVE_COUNT);
      }
      times[0].push(((performance.now() - start) * 1e6) / ROUNDS / SINK_RECEIVE_COUNT);
      start = performance.now();
      for (let round = 0; round < ROUNDS; ++round) plainWalk(datagrams, out, view, map);
      times[1].push(((performance.now() - start) * 1e6) / ROUNDS / SINK_RECEIVE_COUNT);
    }
    const [assembly, plain] = times.map(median);
    console.log(
      `${String(bytes).padStart(11)}   ${assembly!.toFixed(1).padStart(14)}   ${plain!.toFixed(1).padStart(10)}`,
    );
  }
}

interface Trial {
  /** Datagrams per second that were sent. */
  rate: number;
  lost: number;
}

const run = (command: string, ...args: string[]) => {
  const { status, stderr, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
};

async function trial(
  tool: 'sink' | 'tcpdump',
  places: [string, string],
  folder: string,
  what: string,
  rate: number,
): Promise<Trial> {
  const [from, to] = places;
  const file = join(folder, 'capture');
  const command =
    tool === 'sink'
      ? [...NOBODY, process.execPath, join(ROOT, 'dist/src/cli/main.js'), 'sink', '--write', file, '--json']
      : ['tcpdump', '-ni', 'eth0', '-B', '8192', '-w', file, 'udp port 4789'];
  const child = spawn('ip', ['netns', 'exec', to, ...command]);
  let said = '';
  child.stdout.on('data', (data) => {
    said += data;
  });
  await new Promise<void>((resolve) => {
    child.stderr.on('data', (data) => {
      said += data;
      if (/receives on|listening on/.test(said)) resolve();
    });
  });
  const sender = [
    '--import',
    'tsx',
    join(ROOT, 'bench/sink-sender.ts'),
    '192.0.2.2',
    what,
    String(rate),
    String(SECONDS),
  ];
  const sending = spawn('ip', ['netns', 'exec', from, process.execPath, ...sender], { cwd: ROOT });
  let answer = '';
  sending.stdout.on('data', (data) => {
    answer += data;
  });
  await once(sending, 'close');
  // tcpdump reads a block of its ring when it is full, or after a second.
  await new Promise((resolve) => setTimeout(resolve, tool === 'sink' ? 300 : SETTLE_MS));
  child.kill('SIGINT');
  await once(child, 'close');
  const { seconds, sent } = JSON.parse(answer) as { sent: number; seconds: number };
  const received = Number((tool === 'sink' ? /"packets":(\d+),/ : /(\d+) packets captured/).exec(said)![1]);
  if (tool === 'sink' && received === sent && !/^\d+$/.test(what)) compare(file, what, sent);
  rmSync(file, { force: true });
  return { rate: sent / seconds, lost: sent - received };
}

/** @throws Error unless the file has the inner packets of the pcap, again and again, in their order */
function compare(file: string, pcap: string, sent: number): void {
  const payloads = payloadsOf(new Uint8Array(readFileSync(pcap)), 4789);
  const { packets } = readCapture(new Uint8Array(readFileSync(file)));
  const isEqual = packets.every(
    ({ data }, index) => Buffer.compare(data, payloads[index % payloads.length]!.subarray(8)) === 0,
  );
  if (packets.length !== sent || !isEqual) throw new Error(`${file} is not what was sent`);
}

/** 7 to 4 to 1, as Internet traffic is often mixed for measurements. */
function mixedPcap(): Uint8Array {
  const sizes = [64, 576, 64, 64, 576, 64, 1400, 64, 576, 64, 64, 576];
  const datagrams = Array.from({ length: 64 * sizes.length }, (_, index) =>
    datagram(sizes[index % sizes.length]!, index % 64).fill(index & 255, 50),
  );
  return writePcap(datagrams, 4789);
}

async function endToEnd(wanted: readonly string[]): Promise<void> {
  const places: [string, string] = [`sinkbench-a${process.pid}`, `sinkbench-b${process.pid}`];
  const folder = mkdtempSync(join(tmpdir(), 'vxlane-sink-bench-'));
  chmodSync(folder, 0o777);
  try {
    for (const place of places) run('ip', 'netns', 'add', place);
    run(
      'ip',
      '-n',
      places[0],
      'link',
      'add',
      'eth0',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      places[1],
    );
    places.forEach((place, index) => {
      run('ip', '-n', place, 'addr', 'add', `192.0.2.${index + 1}/24`, 'dev', 'eth0');
      run('ip', '-n', place, 'link', 'set', 'eth0', 'up');
    });
    const mix = join(folder, 'mix.pcap');
    writeFileSync(mix, mixedPcap());
    console.log('\ninner bytes   sink kpps   tcpdump kpps   ratio   highest rate without a single loss');
    for (const what of wanted) {
      const best = { sink: 0, tcpdump: 0 };
      const range = { sink: [RATE_MIN, RATE_MAX], tcpdump: [RATE_MIN, RATE_MAX] };
      for (let step = 0; step < STEPS; ++step)
        for (const tool of ['sink', 'tcpdump'] as const) {
          const [low, high] = range[tool] as [number, number];
          const asked = Math.sqrt(low * high);
          let { lost, rate } = await trial(tool, places, folder, what === 'mix' ? mix : what, asked);
          // Once is chance: the machine has other work, too.
          if (lost > 0)
            ({ lost, rate } = await trial(tool, places, folder, what === 'mix' ? mix : what, asked));
          if (lost === 0) best[tool] = Math.max(best[tool], rate);
          range[tool] = lost === 0 ? [asked, high] : [low, asked];
        }
      const kpps = (rate: number) => (rate / 1000).toFixed(0);
      const ratio = (best.sink / best.tcpdump).toFixed(2);
      console.log(
        `${basename(what).padStart(11)}   ${kpps(best.sink).padStart(9)}   ${kpps(best.tcpdump).padStart(12)}   ${ratio.padStart(5)}`,
      );
    }
  } finally {
    for (const place of places) spawnSync('ip', ['netns', 'del', place]);
    rmSync(folder, { recursive: true, force: true });
  }
}

const [mode, ...sizes] = process.argv.slice(2);
if (mode === '--e2e') await endToEnd(sizes.length === 0 ? ['64', '1400', 'mix'] : sizes);
else walks();
