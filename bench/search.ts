/**
 * The search for the highest rate that loses next to nothing: the non-drop rate of RFC 2544, section 26.1, with
 * the loss that a shared machine needs.
 *
 * One trial is luck, good or bad: a stall of the machine fails a rate that the tunnel carries, and a rate just
 * above passes now and then. So a rate passes or fails when two trials agree, three at the most, and the one
 * that comes out is put to a vote once more.
 */

export interface Outcome {
  /** Datagrams per second, as sent and as received. */
  offered: number;
  rate: number;
  loss: number;
}

/** The share of datagrams that may be missing. */
const MAX_LOSS = 0.001;
const COARSE = 1.15;
const FINE = 1.03;
/** A sender that offers less than this share of what was asked for can't go faster. */
const KEPT_PACE = 0.95;
const LEAST_RATE = 1000;

/**
 * A flood that arrives is its own answer: the way takes all that a sender can offer, which is how the kernel's
 * own path often behaves. Otherwise gallops from `guess` up or down until one rate passes and a higher one
 * fails, halves the gap, and has the answer confirmed, going down where it is not.
 *
 * @param flood the outcome of a trial of rate 0
 * @param trial sends at a rate, in datagrams per second; 0 = as fast as it goes
 * @throws Error when even LEAST_RATE loses too much
 */
export async function highestRate<T extends Outcome>(
  flood: T,
  guess: number,
  trial: (rate: number) => Promise<T>,
): Promise<T> {
  const isFlood = await vote(trial, 0, flood);
  if (isFlood) return isFlood;
  let best: T | undefined;
  let low = guess;
  let high = 0;
  while (high === 0 || high / low > FINE) {
    const rate = high === 0 ? (best ? low * COARSE : guess) : best ? Math.sqrt(low * high) : high / COARSE;
    const passed = await vote(trial, rate);
    if (passed) {
      best = passed;
      low = rate;
      if (passed.offered < rate * KEPT_PACE) break;
    } else {
      high = rate;
      if (!best) low = rate / COARSE;
      if (rate < LEAST_RATE)
        throw new Error(`more than 0.1 % is lost even at ${LEAST_RATE} datagrams a second`);
    }
  }
  for (let rate = best!.offered; rate >= LEAST_RATE; rate /= FINE) {
    const confirmed = await vote(trial, rate);
    if (confirmed) return confirmed;
  }
  throw new Error('no rate could be confirmed');
}

/** Two trials that agree, of at most three. The slower of the ones that passed, or undefined. */
async function vote<T extends Outcome>(
  trial: (rate: number) => Promise<T>,
  rate: number,
  first?: T,
): Promise<T | undefined> {
  const passed: T[] = [];
  let failed = 0;
  for (let next = first; passed.length < 2 && failed < 2; next = undefined) {
    const outcome = next ?? (await trial(rate));
    if (outcome.loss <= MAX_LOSS) passed.push(outcome);
    else failed += 1;
  }
  const [one, other] = passed;
  if (failed === 2 || !one || !other) return undefined;
  return one.rate < other.rate ? one : other;
}
