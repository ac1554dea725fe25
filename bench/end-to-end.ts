/**
 * End to end against the kernel's own vxlan device: what is measured, and how. The order is run.ts' business.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { measureEcho } from './echo.ts';
import type { Metric, Metrics } from './table.ts';
import {
  busySeconds,
  type Helper,
  type Host,
  type Pair,
  processSeconds,
  type Testbed,
  waitForLine,
} from './testbed.ts';
import {
  highestRate,
  type ReceiveOrder,
  type ReceiveReply,
  type SendOrder,
  type SendReply,
} from './udp-blast.ts';

/** One direction of one pair, through the tunnel or beside it. */
export interface Subject {
  pair: Pair;
  /** From b to a. */
  reverse: boolean;
  /** Over the bare veth. */
  bare: boolean;
}

export interface Trial {
  name: string;
  metrics: Metric[];
  measure(probe: Probe, subject: Subject): Promise<Metrics>;
  /** Who is held against the kernel pair; the default is the candidate on both ends. */
  against?: 'to-kernel' | 'from-kernel';
  /** The underlay's tunnel segmentation; on unless false. */
  offloads?: false;
  /** Measured over the bare veth, too. */
  veth?: true;
  /** Only with --all or by name. */
  optional?: true;
  /** The kernel has nothing to measure, and one sample is enough. */
  alone?: true;
}

interface UdpShape {
  /** UDP payload, smallest and largest. */
  payload: [number, number];
  segments: number;
  flows: number;
}

type Rest = Omit<Partial<Trial>, 'name'>;
const metric = (key: string, row: string, title: string, unit: string, digits = 0): Metric => ({
  key,
  row,
  title,
  unit,
  digits,
});
const tcp = (name: string, title: string, words: string[], rest: Rest = {}): Trial => ({
  name,
  metrics: [metric('gbits', name, title, 'Gbit/s', 2)],
  measure: (probe, subject) => probe.iperf(subject, words),
  ...rest,
});
const udp = (name: string, title: string, shape: UdpShape, rest: Rest = {}): Trial => ({
  name,
  metrics: [
    metric('kpps', name, title, 'kpps'),
    metric('flood', `${name}-flood`, '  received of a flood', 'kpps'),
  ],
  measure: (probe, subject) => probe.udp(subject, shape),
  ...rest,
});
const rtt = (name: string, title: string, count: number, everyUs: number, rest: Rest = {}): Trial => ({
  name,
  metrics: [
    metric('p50', `${name}-p50`, `RTT ${title}, p50`, 'us', 1),
    metric('p99', `${name}-p99`, '  p99', 'us', 1),
  ],
  measure: (probe, subject) => probe.echo(subject, count, everyUs),
  ...rest,
});

/** 18 bytes of UDP payload are 60 bytes of frame, 64 with its check sequence. */
const SMALL = { payload: [18, 18] as [number, number], segments: 1, flows: 1 };
const FOUR = ['-P', '4'];
const TO = { against: 'to-kernel' } as const;
const FROM = { against: 'from-kernel' } as const;
const PLAIN = { offloads: false } as const;
const OPTIONAL = { optional: true } as const;

export const TRIALS: Trial[] = [
  tcp('tcp1', 'TCP 1 stream', [], {
    veth: true,
    metrics: [
      metric('gbits', 'tcp1', 'TCP 1 stream', 'Gbit/s', 2),
      metric('perGB', 'cpu', '  CPU per gigabyte', 's/GB', 2),
    ],
  }),
  tcp('tcp1-plain', 'TCP 1 stream, no tunnel offload', [], PLAIN),
  tcp('tcp4', 'TCP 4 streams', FOUR, { veth: true }),
  tcp('tcp4-plain', 'TCP 4 streams, no tunnel offload', FOUR, PLAIN),
  tcp('bidir', 'TCP both ways at once', ['--bidir'], OPTIONAL),
  tcp('bidir-plain', 'TCP both ways, no tunnel offload', ['--bidir'], { ...PLAIN, ...OPTIONAL }),
  udp('udp64', 'UDP 64-byte frames, < 0.1 % loss', SMALL, { veth: true }),
  udp('udp64-gso', 'same, sent with UDP_SEGMENT', { ...SMALL, segments: 32 }, OPTIONAL),
  udp(
    'udp-mix',
    'UDP 254 flows, 64 to 1400 bytes',
    { payload: [18, 1354], segments: 1, flows: 254 },
    OPTIONAL,
  ),
  rtt('rtt', 'back to back', 1000, 0, { veth: true }),
  rtt('rtt-2ms', 'one every 2 ms', 500, 2000, { veth: true }),
  {
    name: 'idle',
    alone: true,
    metrics: [metric('percent', 'idle', 'CPU of one idle process', '% core', 2)],
    measure: (probe, subject) => probe.idle(subject),
  },
  tcp('to-kernel', 'TCP 1 stream to a kernel peer', [], TO),
  tcp('from-kernel', 'TCP 1 stream from a kernel peer', [], FROM),
  tcp('to-kernel-plain', 'to, no tunnel offload', [], { ...TO, ...PLAIN }),
  tcp('from-kernel-plain', 'from, no tunnel offload', [], { ...FROM, ...PLAIN }),
  rtt('rtt-mixed', 'with a kernel peer', 1000, 0, TO),
  udp('udp64-to-kernel', 'UDP 64-byte frames to a kernel peer', SMALL, { ...TO, ...OPTIONAL }),
  udp('udp64-from-kernel', 'UDP 64-byte frames from a kernel peer', SMALL, { ...FROM, ...OPTIONAL }),
];

export interface ProbeOptions {
  /** Length of a TCP trial. */
  seconds: number;
  quick: boolean;
  /** Sending programs on core 0, receiving ones on core 1, instead of where the scheduler puts them. */
  pin: boolean;
}

/** The measuring devices. Each answers its metrics, and `cores`: what the whole machine had busy meanwhile. */
export class Probe {
  readonly #bed: Testbed;
  readonly #helpers = new Map<string, Promise<Helper>>();
  /** Where the search for a subject's highest rate starts: where its last one ended. */
  readonly #guesses = new Map<string, number>();
  readonly #options: ProbeOptions;
  #trials = 0;

  constructor(bed: Testbed, options: ProbeOptions) {
    this.#bed = bed;
    this.#options = options;
  }

  async iperf(subject: Subject, words: string[]): Promise<Metrics> {
    const { seconds } = this.#options;
    const omit = seconds >= 5 ? 2 : 1;
    const { from, to, address } = ends(subject);
    const server = this.#bed.spawn(to, 'iperf3', ['-s', '-1', '--forceflush']);
    await waitForLine(server, 'Server listening');
    // Cubic by name: bbr, which some systems default to, paces and so measures its own model of the path.
    const fixed = `-c ${address} -J -C cubic -O ${omit} -t ${seconds} --connect-timeout 3000`.split(' ');
    if (this.#options.pin) fixed.push('-A', '0,1');
    const client = this.#bed.spawn(from, 'iperf3', [...fixed, ...words]);
    const watchdog = setTimeout(() => client.kill('SIGKILL'), (omit + seconds + 15) * 1000);
    let json = '';
    client.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      json += chunk;
    });
    const ended = new Promise((resolve) => client.once('close', resolve));
    try {
      // Busy cores of the steady part: neither the omitted seconds nor the exchange of results.
      const cores = await busyCores(omit * 1000 + 200, seconds * 1000 - 400);
      await ended;
      const { end, error } = JSON.parse(json || '{"error":"ended without a result"}');
      if (error) throw new Error(`iperf3: ${error}`);
      const control = end.sender_tcp_congestion;
      if (control !== 'cubic') throw new Error(`iperf3 used ${control}, not cubic`);
      const bits = [end.sum_received, end.sum_received_bidir_reverse].map((sum) => sum?.bits_per_second ?? 0);
      const gbits = (bits[0] + bits[1]) / 1e9;
      return { gbits, cores, perGB: (cores * 8) / gbits, retransmits: end.sum_sent.retransmits };
    } finally {
      clearTimeout(watchdog);
      client.kill('SIGKILL');
      server.kill('SIGKILL');
    }
  }

  async udp(subject: Subject, shape: UdpShape): Promise<Metrics> {
    const { from, to, address } = ends(subject);
    const sender = await this.#helper(from, 'udp-blast.ts', 0);
    const receiver = await this.#helper(to, 'udp-blast.ts', 1);
    const net = (subject.bare ? to.underlayNet : to.overlayNet).replace('0/24', '');
    const many = Array.from({ length: shape.flows }, (_, i) => `${net}${i + 1}`);
    const destinations = shape.flows === 1 ? [address] : many;
    const seconds = this.#options.quick ? 0.4 : 1;
    const once = async (rate: number) => {
      const trial = ++this.#trials;
      const hear: ReceiveOrder = { do: 'receive', trial, seconds };
      const say: SendOrder = { do: 'send', trial, rate, seconds, destinations, ...shape };
      const before = busySeconds();
      const sending = sender.ask<SendReply>(say).then((reply) => ({ ...reply, after: busySeconds() }));
      const [{ received, reordered, overrun }, sent] = await Promise.all([
        receiver.ask<ReceiveReply>(hear),
        sending,
      ]);
      const cores = (sent.after.busy - before.busy) / (sent.after.at - before.at);
      const offered = sent.sent / sent.seconds;
      return {
        offered,
        rate: received / sent.seconds,
        loss: 1 - received / sent.sent,
        reordered,
        overrun,
        cores,
      };
    };
    const key = `${subject.pair.name} ${subject.reverse} ${subject.bare} ${JSON.stringify(shape)}`;
    const flood = await once(0);
    const best = await highestRate(flood, this.#guesses.get(key) ?? flood.rate, once);
    this.#guesses.set(key, best.rate);
    const { cores, loss, reordered, overrun } = best;
    const floods = {
      flood: flood.rate / 1000,
      floodOffered: flood.offered / 1000,
      floodOverrun: flood.overrun,
    };
    return { kpps: best.rate / 1000, cores, loss, reordered, overrun, ...floods };
  }

  async echo(subject: Subject, count: number, everyUs: number): Promise<Metrics> {
    const { from, to, address } = ends(subject);
    const client = await this.#helper(from, 'echo.ts', 0);
    return measureEcho(client, await this.#helper(to, 'echo.ts', 1), address, count, everyUs);
  }

  async idle({ pair }: Subject): Promise<Metrics> {
    const seconds = this.#options.quick ? 3 : 10;
    const pids = [pair.a, pair.b].flatMap(({ process }) => process?.pid ?? []);
    if (pids.length === 0) return {};
    await sleep(1000);
    const before = pids.map(processSeconds);
    const start = performance.now();
    await sleep(seconds * 1000);
    const elapsed = (performance.now() - start) / 1000;
    const percents = pids.map((pid, i) => ((processSeconds(pid) - before[i]!) / elapsed) * 100);
    return { percent: Math.max(...percents) };
  }

  #helper(host: Host, file: string, core: number): Promise<Helper> {
    const key = `${host.namespace} ${file} ${core}`;
    const known = this.#helpers.get(key);
    const helper = known ?? this.#bed.helper(host, file, this.#options.pin ? core : undefined);
    this.#helpers.set(key, helper);
    return helper;
  }

  /** Ends the helpers: a trial starts with none but its own. */
  async dismiss(): Promise<void> {
    const all = [...this.#helpers.values()];
    this.#helpers.clear();
    for (const helper of await Promise.allSettled(all)) {
      if (helper.status === 'fulfilled') helper.value.stop();
    }
  }
}

function ends({ pair, reverse, bare }: Subject): { from: Host; to: Host; address: string } {
  const [from, to] = reverse ? [pair.b, pair.a] : [pair.a, pair.b];
  for (const { process, namespace } of [from, to]) {
    const ended = process && (process.exitCode ?? process.signalCode) !== null;
    if (ended) throw new Error(`vxlane has ended in ${namespace}`);
  }
  return { from, to, address: bare ? to.underlay : to.overlay };
}

/** Mean over a window that begins after `afterMs`. */
export async function busyCores(afterMs: number, forMs: number): Promise<number> {
  await sleep(afterMs);
  const before = busySeconds();
  await sleep(forMs);
  const after = busySeconds();
  return (after.busy - before.busy) / (after.at - before.at);
}
