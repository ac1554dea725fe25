/** What is measured end to end, row by row. How it is done is the probe's business, in which order run.ts'. */
import type { Probe, Subject, UdpShape } from './probe.ts';
import type { Metric, Metrics } from './samples.ts';

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
  /** Measured for everybody else who is there, too: other tunnels, and the kernel without GSO. */
  field?: true;
  /** Only with --all, by name or by group. */
  optional?: true;
  /** The kernel has nothing to measure, and one sample is enough. */
  alone?: true;
}

/** Of RFC 2544, section 9.1, as far as the overlay's MTU goes; 64 is the row udp64. */
export const FRAME_BYTES = [64, 128, 256, 512, 1024, 1280, 1400];
/** Ethernet with its check sequence, IPv4 and UDP. */
const FRAME_OVERHEAD_BYTES = 18 + 20 + 8;
const RTT_PERCENTILES = ['p50', 'p90', 'p99', 'p999'];

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
    metric('flood', `${name}-flood`, '  received of a flood (MRR)', 'kpps'),
    metric('nsPerPacket', `${name}-cpu`, '  CPU per packet', 'ns'),
  ],
  measure: (probe, subject) => probe.udp(subject, shape),
  ...rest,
});
const rtt = (name: string, title: string, count: number, everyUs: number, rest: Rest = {}): Trial => ({
  name,
  metrics: RTT_PERCENTILES.map((key) =>
    metric(
      key,
      `${name}-${key}`,
      key === 'p50' ? `RTT ${title}, p50` : `  ${key.replace('999', '99.9')}`,
      'us',
      1,
    ),
  ),
  measure: (probe, subject) => probe.echo(subject, count, everyUs),
  ...rest,
});
const frames = (bytes: number): UdpShape => {
  const payload = bytes - FRAME_OVERHEAD_BYTES;
  return { payload: [payload, payload], segments: 1, flows: 1 };
};

const FOUR = ['-P', '4'];
const TO = { against: 'to-kernel' } as const;
const FROM = { against: 'from-kernel' } as const;
const PLAIN = { offloads: false } as const;
const OPTIONAL = { optional: true } as const;
const EVERYBODY = { veth: true, field: true } as const;

export const TRIALS: Trial[] = [
  tcp('tcp1', 'TCP 1 stream', [], {
    ...EVERYBODY,
    metrics: [
      metric('gbits', 'tcp1', 'TCP 1 stream', 'Gbit/s', 2),
      metric('perGB', 'cpu', '  CPU per gigabyte', 's/GB', 2),
    ],
  }),
  tcp('tcp1-plain', 'TCP 1 stream, no tunnel offload', [], PLAIN),
  tcp('tcp4', 'TCP 4 streams', FOUR, EVERYBODY),
  tcp('tcp4-plain', 'TCP 4 streams, no tunnel offload', FOUR, PLAIN),
  tcp('bidir', 'TCP both ways at once', ['--bidir']),
  tcp('bidir-plain', 'TCP both ways, no tunnel offload', ['--bidir'], PLAIN),
  udp('udp64', 'UDP 64-byte frames, <= 0.1 % loss', frames(64), EVERYBODY),
  udp('udp64-gso', 'same, sent with UDP_SEGMENT', { ...frames(64), segments: 32 }, OPTIONAL),
  udp('udp-mix', 'UDP 254 flows, 64 to 1400 bytes', {
    payload: [frames(64).payload[0], frames(1400).payload[1]],
    segments: 1,
    flows: 254,
  }),
  rtt('rtt', 'back to back', 5000, 0, EVERYBODY),
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
  rtt('rtt-mixed', 'with a kernel peer', 5000, 0, TO),
  udp('udp64-to-kernel', 'UDP 64-byte frames to a kernel peer', frames(64), { ...TO, ...OPTIONAL }),
  udp('udp64-from-kernel', 'UDP 64-byte frames from a kernel peer', frames(64), { ...FROM, ...OPTIONAL }),
  ...FRAME_BYTES.slice(1).map((bytes) =>
    udp(`frame-${bytes}`, `UDP ${bytes}-byte frames, <= 0.1 % loss`, frames(bytes), OPTIONAL),
  ),
];

/** Words of --only that stand for several rows. */
export const GROUPS: Record<string, string[]> = {
  floors: 'tcp1 tcp1-plain tcp4 tcp4-plain bidir bidir-plain udp64 udp-mix rtt rtt-2ms idle'.split(' '),
  field: TRIALS.filter(({ field }) => field).map(({ name }) => name),
  mixed: TRIALS.filter(({ against }) => against).map(({ name }) => name),
  rfc2544: ['udp64', ...FRAME_BYTES.slice(1).map((bytes) => `frame-${bytes}`)],
};
