/** The benchmark's reasoning: verdicts, the search for a rate, its words, its reports. What it measures, bench-run tries. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { charts } from '../bench/charts.ts';
import { percentiles } from '../bench/echo.ts';
import { parseOptions } from '../bench/options.ts';
import { shares } from '../bench/profile.ts';
import { merged, type RunRecord } from '../bench/record.ts';
import { writeReport } from '../bench/report.ts';
import { type Metric, type Result, type Round, summary } from '../bench/samples.ts';
import { highestRate, type Outcome } from '../bench/search.ts';
import { endToEndCells, FLOORS, notes, rows, type Verdict } from '../bench/table.ts';
import { FRAME_BYTES, GROUPS, TRIALS } from '../bench/trials.ts';
import { parseCandidate } from '../bench/tunnels.ts';

const metric = (row: string, key = 'gbits'): Metric => ({ key, row, title: row, unit: 'u', digits: 2 });
const result = (row: string, rounds: Round[], rest: Partial<Result> = {}): Result => ({
  trial: row,
  metrics: [metric(row)],
  rounds,
  background: 0,
  stolen: 0,
  failures: {},
  ...rest,
});
const round = (kernel: number, vxlane: number): Round => ({
  kernel: { gbits: kernel, cores: 2 },
  vxlane: { gbits: vxlane, cores: 1.5 },
});

describe('the table', () => {
  it('holds every floor against a row that is measured', () => {
    const known = TRIALS.flatMap(({ metrics }) => metrics.map(({ row }) => row));
    assert.deepEqual(
      Object.keys(FLOORS).filter((row) => !known.includes(row)),
      [],
    );
    assert.equal(new Set(known).size, known.length, 'no row twice');
    const groups = Object.values(GROUPS).flat();
    assert.deepEqual(
      groups.filter((name) => !TRIALS.some((trial) => trial.name === name)),
      [],
    );
    assert.equal(GROUPS.rfc2544!.length, FRAME_BYTES.length);
    const frames = TRIALS.filter(({ name }) => name === 'udp64' || name.startsWith('frame-'));
    assert.equal(frames.length, FRAME_BYTES.length);
  });

  it('takes the median of the ratios, not the ratio of the medians', () => {
    const [row] = rows(result('x', [round(10, 5), round(20, 30), round(40, 10)]), []);
    assert.deepEqual(row!.entries.vxlane!.ratio, { median: 0.5, min: 0.25, max: 1.5 });
    assert.deepEqual(row!.entries.kernel!.of, { median: 20, min: 10, max: 40 });
    assert.equal(row!.entries.kernel!.ratio, undefined);
    assert.deepEqual([row!.entries.kernel!.cores, row!.entries.vxlane!.cores], [2, 1.5]);
    assert.deepEqual(summary([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 });
    assert.equal(summary([]), undefined);
  });

  const verdicts: [row: string, kernel: number, vxlane: number, verdict: Verdict][] = [
    ['tcp1', 100, 84.9, 'below'],
    ['tcp1', 100, 85, 'pass'],
    ['tcp1', 100, 120, 'aim'],
    ['cpu', 100, 200.1, 'below'],
    ['cpu', 100, 200, 'pass'],
    ['cpu', 100, 120, 'aim'],
    ['idle', 100, 0.6, 'below'],
    ['idle', 100, 0.5, 'pass'],
    ['idle', 100, 0.1, 'aim'],
  ];
  for (const [row, kernel, vxlane, verdict] of verdicts) {
    it(`${row}: ${vxlane} beside ${kernel} is "${verdict}"`, () => {
      const [judged] = rows(result(row, [round(kernel, vxlane)]), ['vxlane']);
      assert.equal(judged!.entries.vxlane!.verdict, verdict);
      const [unjudged] = rows(result(row, [round(kernel, vxlane)]), []);
      assert.equal(unjudged!.entries.vxlane!.verdict, undefined);
      const cells = endToEndCells([judged!])[1]!;
      assert.equal(cells.at(-1), verdict);
      assert.match(cells.at(-2)!, new RegExp(`${FLOORS[row]!.bound}`));
    });
  }

  it('has a failed contestant in it, with what it did before', () => {
    const failures = { ovs: 'iperf3: broken', vxlane: 'ended' };
    const [row] = rows(result('tcp1', [round(10, 9)], { failures }), ['vxlane']);
    assert.equal(row!.entries.vxlane!.verdict, 'failed');
    assert.equal(row!.entries.vxlane!.of!.median, 9);
    assert.deepEqual(row!.entries.ovs, { verdict: 'failed' });
    assert.equal(endToEndCells([row!], ['vxlane']).length, 2, 'only those asked for');
  });

  it('says what makes a row doubtful', () => {
    const clean = result(
      'tcp1',
      [10, 11, 10, 12, 11].map((kernel) => round(kernel, 9)),
    );
    assert.deepEqual(notes(clean), []);
    assert.deepEqual(notes({ ...clean, rounds: clean.rounds.slice(1) }), [
      'tcp1: 4 of 5 rounds: a look, not a result',
    ]);
    const doubtful: Partial<Result> = { background: 0.5, stolen: 0.1 };
    const overrun = { ...round(20, 9), vxlane: { gbits: 9, overrun: 3 } };
    const said = notes(result('tcp1', [round(10, 9), overrun], doubtful)).join('\n');
    for (const word of [/0.50 cores were busy/, /kept 0.10 cores/, /unsteady/, /overflowed.*\(vxlane\)/]) {
      assert.match(said, word);
    }
  });
});

describe('the search for the highest rate', () => {
  /** A tunnel that carries `capacity` and loses the rest, on a machine that stalls and sometimes flatters. */
  function machine(seed: number, capacity: number, stalls: number, luck: number) {
    let state = seed;
    const chance = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    return async (rate: number): Promise<Outcome> => {
      const offered = rate === 0 ? capacity * 3 : rate;
      let loss = Math.max(0, 1 - capacity / offered);
      if (chance() < stalls) loss = Math.max(loss, 0.01);
      else if (loss < 0.1 && chance() < luck) loss = 0;
      return { offered, rate: offered * (1 - loss), loss };
    };
  }

  it('finds the capacity from any guess', async () => {
    for (const guess of [10_000, 250_000, 300_000, 4_000_000]) {
      const trial = machine(1, 300_000, 0, 0);
      const { rate } = await highestRate(await trial(0), guess, trial);
      assert.ok(rate > 300_000 * 0.96 && rate <= 300_000 * 1.001, `${rate} from ${guess}`);
    }
  });

  it('reports neither a stall nor a lucky trial', async () => {
    const rates: number[] = [];
    for (let seed = 1; seed <= 300; seed++) {
      const trial = machine(seed * 7919, 300_000, 0.05, 0.1);
      rates.push((await highestRate(await trial(0), 300_000 * (0.5 + (seed % 10) / 10), trial)).rate);
    }
    rates.sort((x, y) => x - y);
    const at = (share: number) => rates[Math.floor(share * rates.length)]! / 300_000;
    assert.ok(at(0.05) > 0.9, `5 % are below ${at(0.05)} of the capacity`);
    assert.ok(at(0.5) > 0.96 && at(0.5) <= 1.001, `the median is ${at(0.5)} of the capacity`);
    assert.ok(at(0.95) <= 1.02, `5 % are above ${at(0.95)} of the capacity`);
  });

  it('takes a flood that arrives whole, when it does so again', async () => {
    const whole = async (rate: number) => ({ offered: rate || 900_000, rate: rate || 900_000, loss: 0 });
    assert.equal((await highestRate(await whole(0), 1000, whole)).rate, 900_000);
    let floods = 0;
    const once = async (rate: number) => {
      const loss = rate === 0 && floods++ === 0 ? 0 : Math.max(0, 1 - 200_000 / (rate || 900_000));
      return { offered: rate || 900_000, rate: (rate || 900_000) * (1 - loss), loss };
    };
    const { rate } = await highestRate(await once(0), 400_000, once);
    assert.ok(rate < 201_000, `${rate}`);
  });

  it('allows 0.1 % and no more, and gives up where nothing passes', async () => {
    const flat = (loss: number) => async (rate: number) => {
      const offered = Math.min(rate || 500_000, 500_000);
      return { offered, rate: offered * (1 - loss), loss };
    };
    assert.equal((await highestRate(await flat(0.001)(0), 1e5, flat(0.001))).loss, 0.001);
    await assert.rejects(highestRate(await flat(0.0011)(0), 1e5, flat(0.0011)), /even at 1000/);
  });
});

describe('the command line', () => {
  it('reads candidates', () => {
    const { directory, ...all } = parseCandidate(
      'fast: gso tunnel VXLANE_WASM=scalar @/old -- --engine uring --spin 50',
    );
    assert.equal(directory, '/old');
    assert.deepEqual(all, {
      name: 'fast',
      words: ['gso', 'tunnel'],
      flags: ['--engine', 'uring', '--spin', '50'],
      env: { VXLANE_WASM: 'scalar' },
    });
    assert.deepEqual(parseCandidate('vxlane').words, []);
    for (const wrong of ['', ': gso', 'a b'])
      assert.throws(() => parseCandidate(wrong), /a candidate is NAME/);
  });

  it('adds the words for all to each, and takes flags that begin with dashes', () => {
    const words = [
      '--vxlane',
      'gso tunnel',
      '--daemon',
      '--engine uring',
      '--candidate',
      'a: learning',
      '--candidate',
      'kernel',
    ];
    const { candidates } = parseOptions(words)!;
    assert.deepEqual(
      candidates.map(({ words, flags }) => [words, flags]),
      [
        [
          ['learning', 'gso', 'tunnel'],
          ['--engine', 'uring'],
        ],
        [[], []],
      ],
    );
  });

  it('chooses rows by name and group', () => {
    const names = (...words: string[]) => parseOptions(words)!.trials.map(({ name }) => name);
    assert.deepEqual(names('--only', 'rtt,tcp1'), ['tcp1', 'rtt'], 'in the order of the table');
    assert.deepEqual(names('--only', 'kernels'), []);
    assert.deepEqual(names('--only', 'rfc2544'), GROUPS.rfc2544);
    assert.deepEqual(names('--only', 'e2e'), names());
    assert.ok(!names().includes('udp64-gso') && names('--all').includes('udp64-gso'));
    assert.deepEqual(
      names('--only', 'e2e', '--all'),
      TRIALS.map(({ name }) => name),
    );
    assert.deepEqual([parseOptions([])!.kernels, parseOptions(['--only', 'e2e'])!.kernels], [true, false]);
    assert.equal(parseOptions(['--help']), undefined);
  });

  const refused: [words: string[], why: RegExp][] = [
    [['--only', 'tcp9'], /no row or group "tcp9"/],
    [['--pairs', '0'], /--pairs takes a whole number/],
    [['--seconds', '1.5'], /--seconds takes a whole number/],
    [['--candidate', 'a', '--candidate', 'a: x'], /two candidates are "a"/],
    [['--wat'], /--wat/],
  ];
  for (const [words, why] of refused) {
    it(`refuses ${words.join(' ')}`, () => {
      assert.throws(() => parseOptions(words), why);
    });
  }
});

describe('round trips', () => {
  it('are kept to three digits, in microseconds', () => {
    const rtts = Array.from({ length: 2000 }, (_, i) => (i + 1) / 2);
    const found = percentiles(rtts);
    const expected = { p50: 500, p75: 750, p90: 900, p95: 950, p99: 990, p995: 995, p999: 999, max: 1000 };
    assert.deepEqual(Object.keys(found), Object.keys(expected));
    for (const [key, value] of Object.entries(expected)) {
      const got = found[key as keyof typeof found];
      assert.ok(Math.abs(got / value - 1) < 0.002, `${key}: ${got}, not ${value}`);
    }
  });
});

describe('a profile', () => {
  it('shares the wall clock out, and leaves the rest to JavaScript', () => {
    const before = { thread: 1, secondsPerCall: 1e-6, calls: { wasm: { count: 10, seconds: 1 } } };
    const calls = {
      wasm: { count: 1010, seconds: 2 },
      read: { count: 9000, seconds: 5 },
      asleep: { count: 0, seconds: 0 },
    };
    const found = shares(before, { ...before, calls }, 10).map(({ what, seconds, count }) => [
      what,
      +seconds.toFixed(6),
      count,
    ]);
    assert.deepEqual(found, [
      ['read', 5, 9000],
      ['JavaScript', 3.99, undefined],
      ['wasm', 1, 1000],
      ['stopwatch', 0.01, 10000],
    ]);
  });
});

describe('a report', () => {
  const curve = (at: number) => ({ ...percentiles([at, at * 1.1, at * 2]), cores: 1 });
  const record = (trials: string[], factor = 1, command = 'npm run bench -- --only x'): RunRecord => {
    const who = ['kernel', 'vxlane', 'ovs', 'veth'];
    const results = trials.map((name): Result => {
      const { metrics } = TRIALS.find((trial) => trial.name === name)!;
      const each = (at: number) => ({
        ...Object.fromEntries(metrics.map(({ key }) => [key, at])),
        ...curve(at),
      });
      const rounds = [1, 2, 3].map((i) =>
        Object.fromEntries(who.map((w, j) => [w, each(100 * factor * (j + 1) + i)])),
      );
      return result(name, rounds, { metrics });
    });
    return {
      about: {
        date: '2026-01-02T03:04:05.678Z',
        command,
        commit: 'abc',
        cpu: 'A CPU',
        cores: 2,
        memory: '4 GiB',
        kernel: '6.18',
        node: 'v20.1.2',
      },
      contestants: who.map((name) => ({ name, title: `Title of ${name}`, judged: name === 'vxlane' })),
      kernels: [],
      rows: results.flatMap((of) => rows(of, ['vxlane'])),
      results,
      notes: ['a note'],
      failures: [],
    };
  };
  const everything = TRIALS.filter(({ alone, against }) => !alone && !against).map(({ name }) => name);

  it('writes JSON, tables and charts, and says where and how', () => {
    const directory = mkdtempSync(join(tmpdir(), 'vxlane-report-'));
    try {
      writeReport(directory, [record(everything)]);
      const read = (file: string) => readFileSync(join(directory, file), 'utf8');
      assert.equal(JSON.parse(read('results.json')).results.length, everything.length);
      const page = read('results.md');
      const facts = [
        'npm run bench -- --only x',
        '2026-01-02',
        'A CPU, 2 cores',
        'Linux 6.18',
        'Node v20.1.2',
        'a note',
      ];
      for (const fact of facts) assert.ok(page.includes(fact), fact);
      for (const bytes of FRAME_BYTES)
        assert.match(page, new RegExp(`^\\| ${bytes} \\| 102 \\| 202 \\| 1\\.98 `, 'm'));
      assert.match(page, /^\| Title of ovs \| 302\.00 /m);
      assert.match(page, /^\| rtt: Title of veth \| /m);
      const drawn = [...page.matchAll(/!\[\w+\]\((\w+\.svg)\)/g)].map(([, file]) => file!);
      assert.deepEqual(drawn.sort(), ['field.svg', 'frames.svg', 'rtt.svg', 'throughput.svg', 'udp.svg']);
      for (const file of drawn) {
        const svg = read(file);
        assert.match(svg, /^<svg [^>]*viewBox/);
        assert.match(svg, /Title of vxlane/, file);
      }
      assert.match(read('throughput.svg'), />102</, 'the kernel’s median stands at its bar');
      assert.match(read('throughput.svg'), />202</, 'and the candidate’s');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('draws nothing where there is nothing', () => {
    assert.deepEqual([...charts({ contestants: [], rows: [], results: [] }).keys()], []);
  });

  it('of several runs joins the rounds of one build, takes those of the later build, and names all commands', () => {
    const kernelOf = (of: ReturnType<typeof merged>) =>
      of.rows.find(({ row }) => row === 'tcp1')!.entries.kernel!.of!;
    const [first, second] = [record(['rtt', 'tcp1']), record(['tcp1', 'udp64'], 2, 'second')];
    const both = merged([first, second]);
    assert.deepEqual(kernelOf(both), { median: 152, min: 101, max: 203 });
    assert.deepEqual(
      both.results.map(({ trial, rounds }) => [trial, rounds.length]),
      [
        ['tcp1', 6],
        ['udp64', 3],
        ['rtt', 3],
      ],
    );
    assert.deepEqual(
      both.abouts.map(({ command }) => command),
      ['npm run bench -- --only x', 'second'],
    );
    second.about.commit = 'def';
    assert.deepEqual(kernelOf(merged([first, second])), { median: 202, min: 201, max: 203 });
    const other = record(['tcp1']);
    other.about.kernel = '6.1';
    assert.throws(() => merged([record(['rtt']), other]), /differ in kernel: 6\.18, 6\.1/);
  });
});
