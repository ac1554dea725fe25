/**
 * Who is measured, and in which order. All pairs stay up in namespaces of their own, idle while another one is
 * measured, so that the measurements of a round are seconds apart and a drift of the machine hits all of them.
 * The order of the kernel and its candidates turns round with every round.
 */
import { busyCores, busySeconds } from './cpu.ts';
import type { Options } from './options.ts';
import type { Peer } from './peers.ts';
import type { Probe, Subject } from './probe.ts';
import { BARE, BASELINE, type Result, type Round } from './samples.ts';
import type { Pair, Testbed } from './testbed.ts';
import type { Trial } from './trials.ts';
import { type Candidate, KERNEL, kernelTunnel, tunnelOf } from './tunnels.ts';

/** Others than the candidates are measured in so many rounds: they are not close enough to need more. */
const FIELD_ROUNDS = 3;
export const WITHOUT_GSO = 'kernel-no-gso';
/** The kernel as a candidate: a pair of its own. */
const KERNEL_AGAIN = 'kernel-again';

export const nameOf = ({ name }: Candidate) => (name === KERNEL ? KERNEL_AGAIN : name);

interface Entrant {
  candidate: Candidate;
  pair: Pair;
  /** With the kernel at the other end. */
  mixed?: Pair;
}

export class Contest {
  readonly #bed: Testbed;
  readonly #probe: Probe;
  readonly #options: Options;
  readonly #say: (line: string) => void;
  readonly #entrants: Entrant[] = [];
  readonly #field: Subject[] = [];
  #kernel!: Pair;

  constructor(bed: Testbed, probe: Probe, options: Options, say: (line: string) => void) {
    this.#bed = bed;
    this.#probe = probe;
    this.#options = options;
    this.#say = say;
  }

  /** Sets up every pair, and sees that traffic passes. A peer that doesn't work is left out. */
  async open(peers: readonly Peer[]): Promise<void> {
    const { candidates, trials, field } = this.#options;
    const kernel = kernelTunnel();
    this.#kernel = await this.#bed.pair('kernel', kernel);
    const isMixed = trials.some(({ against }) => against);
    for (const [index, candidate] of candidates.entries()) {
      const tunnel = tunnelOf(candidate);
      const entrant: Entrant = { candidate, pair: await this.#bed.pair(`c${index}`, tunnel) };
      if (isMixed) entrant.mixed = await this.#bed.pair(`m${index}`, tunnel, kernel);
      this.#entrants.push(entrant);
      await this.#reach(nameOf(candidate), entrant.pair);
    }
    if (!field || !trials.some((trial) => trial.field)) return;
    const others = [{ name: WITHOUT_GSO, tunnel: kernelTunnel(false) }];
    for (const peer of peers) others.push({ name: peer.name, tunnel: peer });
    for (const { name, tunnel } of others) {
      try {
        const pair = await this.#bed.pair(name, tunnel);
        await this.#reach(name, pair);
        this.#field.push({ name, pair, reverse: false, bare: false });
      } catch (error) {
        this.#say(`${name} is left out: ${(error as Error).message}`);
      }
    }
  }

  async #reach(name: string, pair: Pair): Promise<void> {
    await this.#probe.reach({ name, pair, reverse: false, bare: false });
  }

  /** All rounds of one row. */
  async run(trial: Trial): Promise<Result> {
    for (const pair of [
      this.#kernel,
      ...this.#entrants.flatMap(({ pair, mixed }) => [pair, mixed ?? []].flat()),
    ]) {
      if (!this.#options.trials.some(({ offloads }) => offloads === false)) break;
      this.#bed.offloads(pair, trial.offloads !== false);
    }
    const { name, metrics, alone } = trial;
    const result: Result = {
      trial: name,
      metrics,
      rounds: [],
      background: await (this.#options.quick ? busyCores(0, 200) : busyCores(500, 1000)),
      stolen: 0,
      failures: {},
    };
    const before = busySeconds();
    const times = alone ? 1 : this.#options.pairs;
    for (let index = 0; index < times; index++) {
      const round: Round = {};
      result.rounds.push(round);
      for (const subject of this.#order(trial, index)) {
        if (result.failures[subject.name] !== undefined) continue;
        const line = `${name} ${index + 1}/${times} ${subject.name}`;
        try {
          const measured = await trial.measure(this.#probe, subject);
          round[subject.name] = measured;
          const values = metrics.map(
            ({ key, digits, unit }) => `${measured[key]?.toFixed(digits) ?? '-'} ${unit}`,
          );
          this.#say(`${line}: ${values.join(', ')}`);
        } catch (error) {
          result.failures[subject.name] = (error as Error).message;
          this.#say(`${line}: ${(error as Error).message}`);
        }
      }
    }
    const after = busySeconds();
    result.stolen = (after.stolen - before.stolen) / (after.at - before.at);
    await this.#probe.dismiss();
    return result;
  }

  #order(trial: Trial, round: number): Subject[] {
    const reverse = trial.against === 'from-kernel';
    const candidates = this.#entrants.map(({ candidate, pair, mixed }) => ({
      name: nameOf(candidate),
      pair: trial.against ? mixed! : pair,
      reverse,
      bare: false,
    }));
    if (trial.alone) return candidates;
    const kernel = { name: BASELINE, pair: this.#kernel, reverse: false, bare: false };
    const order = [kernel, ...candidates];
    if (round % 2) order.reverse();
    if (round >= FIELD_ROUNDS) return order;
    if (trial.veth) order.push({ name: BARE, pair: this.#kernel, reverse: false, bare: true });
    return trial.field ? [...order, ...this.#field] : order;
  }
}
