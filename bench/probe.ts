/**
 * The measuring devices: TCP by iperf3, UDP by the blaster, round trips by echoes, idleness by waiting. All of
 * them work between two hosts of the test bed, whatever the tunnel.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { busyCores, busySeconds, processSeconds } from './cpu.ts';
import { answers, measureEcho } from './echo.ts';
import type { Metrics } from './samples.ts';
import { highestRate } from './search.ts';
import { type Helper, type Host, type Pair, type Testbed, waitForLine } from './testbed.ts';
import type { ReceiveOrder, ReceiveReply, SendOrder, SendReply } from './udp-blast.ts';

/** One direction of one pair, through the tunnel or beside it. */
export interface Subject {
  /** The contestant's name. */
  name: string;
  pair: Pair;
  /** From b to a. */
  reverse: boolean;
  /** Over the bare underlay. */
  bare: boolean;
}

export interface UdpShape {
  /** UDP payload, smallest and largest. */
  payload: [number, number];
  segments: number;
  flows: number;
}

/** Hears when the steady part of a measurement begins and ends. */
export interface Watch {
  begin(): void | Promise<void>;
  end(): void | Promise<void>;
}

export interface ProbeOptions {
  /** Length of a TCP trial. */
  seconds: number;
  quick: boolean;
  /** Sending programs on core 0, receiving ones on core 1, instead of where the scheduler puts them. */
  pin: boolean;
}

/** Each measurement answers its metrics, and `cores`: what the whole machine had busy meanwhile. */
export class Probe {
  readonly #bed: Testbed;
  readonly #helpers = new Map<string, Promise<Helper>>();
  /** Where the search for a subject's highest rate starts: where its last one ended. */
  readonly #guesses = new Map<string, number>();
  readonly #options: ProbeOptions;
  /** Somebody who looks at the steady part; UDP is then one flood and no search. */
  watch: Watch | undefined;
  #trials = 0;

  constructor(bed: Testbed, options: ProbeOptions) {
    this.#bed = bed;
    this.#options = options;
  }

  /** Waits until an echo comes back; tunnels need a moment to find each other. */
  async reach(subject: Subject): Promise<void> {
    const { from, to, address } = ends(subject);
    await answers(await this.#helper(from, 'echo.ts', 0), await this.#helper(to, 'echo.ts', 1), address);
  }

  async iperf(subject: Subject, words: string[]): Promise<Metrics> {
    const { seconds, quick } = this.#options;
    const omit = quick ? 1 : 2;
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
      await sleep(omit * 1000 + 200);
      await this.watch?.begin();
      const cores = await busyCores(0, seconds * 1000 - 400);
      await this.watch?.end();
      await ended;
      const { end, error } = JSON.parse(json || '{"error":"ended without a result"}');
      if (error) throw new Error(`iperf3: ${error}`);
      const control = end.sender_tcp_congestion;
      if (control !== 'cubic') throw new Error(`iperf3 used ${control}, not cubic`);
      const ways = words.includes('--bidir') ? ['', '_bidir_reverse'] : [''];
      const bits = ways.map((way) => Number(end[`sum_received${way}`]?.bits_per_second));
      if (!bits.every((value) => value > 0)) throw new Error('iperf3: one direction has carried nothing');
      const gbits = bits.reduce((sum, value) => sum + value) / 1e9;
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
      const hear: ReceiveOrder = { do: 'receive', trial, seconds, flows: shape.flows };
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
    const key = `${subject.name} ${JSON.stringify(shape)}`;
    await this.watch?.begin();
    const flood = await once(0);
    await this.watch?.end();
    if (this.watch) return { kpps: flood.rate / 1000, flood: flood.rate / 1000, cores: flood.cores };
    const best = await highestRate(flood, this.#guesses.get(key) ?? flood.rate, once);
    this.#guesses.set(key, best.rate);
    const { cores, loss, reordered, overrun } = best;
    const floods = {
      flood: flood.rate / 1000,
      floodOffered: flood.offered / 1000,
      floodOverrun: flood.overrun,
    };
    const nsPerPacket = (cores * 1e9) / best.rate;
    return { kpps: best.rate / 1000, nsPerPacket, cores, loss, reordered, overrun, ...floods };
  }

  async echo(subject: Subject, count: number, everyUs: number): Promise<Metrics> {
    const { from, to, address } = ends(subject);
    const client = await this.#helper(from, 'echo.ts', 0);
    const server = await this.#helper(to, 'echo.ts', 1);
    const echoes = this.#options.quick ? Math.ceil(count / 10) : count;
    return measureEcho(client, server, address, echoes, everyUs, this.watch);
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
    if (ended) throw new Error(`the tunnel has ended in ${namespace}`);
  }
  return { from, to, address: bare ? to.underlay : to.overlay };
}
