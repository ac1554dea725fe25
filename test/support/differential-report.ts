/** What the differential suite says at its end: each branch with its cases, and every divergence with its reason. */
import type { Divergence, Outcome } from './differential-cases.ts';

/** A divergence that is meant to be. */
export interface Known {
  name: string;
  reason: string;
  matches(divergence: Divergence): boolean;
}

interface Row {
  cases: number;
  equal: number;
  states: number;
  names: Set<string>;
}

export class Report {
  readonly #known: readonly Known[];
  readonly #rows = new Map<string, Row>();
  readonly #used = new Map<string, number>();

  constructor(known: readonly Known[]) {
    this.#known = known;
  }

  /** Counts an outcome; @returns what differs and is not known. */
  add({ tally, divergences }: Outcome): Divergence[] {
    for (const [branch, { cases, equal, states }] of tally) {
      const row = this.#row(branch);
      row.cases += cases;
      row.equal += equal;
      row.states += states;
    }
    return divergences.filter((divergence) => {
      const known = this.#known.find((entry) => entry.matches(divergence));
      const name = known?.name ?? 'UNEXPLAINED';
      this.#row(divergence.branch).names.add(name);
      this.#used.set(name, (this.#used.get(name) ?? 0) + 1);
      return known === undefined;
    });
  }

  #row(branch: string): Row {
    const row = this.#rows.get(branch) ?? { cases: 0, equal: 0, states: 0, names: new Set() };
    this.#rows.set(branch, row);
    return row;
  }

  get cases(): number {
    return [...this.#rows.values()].reduce((sum, row) => sum + row.cases, 0);
  }

  lines(): string[] {
    const rows = [...this.#rows].sort(([a], [b]) => (a < b ? -1 : 1));
    const sum = (key: 'cases' | 'equal' | 'states') => rows.reduce((total, [, row]) => total + row[key], 0);
    const width = Math.max(6, ...rows.map(([branch]) => branch.length));
    const line = (branch: string, cells: readonly (string | number)[], names: string) =>
      `${branch.padEnd(width)} ${cells.map((cell) => String(cell).padStart(6)).join(' ')}  ${names}`.trimEnd();
    return [
      line('branch', ['cases', 'equal', 'states'], 'divergences'),
      ...rows.map(([branch, row]) =>
        line(branch, [row.cases, row.equal, row.states], [...row.names].join(', ') || '-'),
      ),
      line('total', [sum('cases'), sum('equal'), sum('states')], ''),
      ...[...this.#used].map(([name, times]) => {
        const reason = this.#known.find((entry) => entry.name === name)?.reason ?? 'nobody has said why';
        return `${name} (${times}): ${reason}`;
      }),
    ];
  }

  /** Known divergences that did not show: they are gone, and so should their entry be. */
  unused(): string[] {
    return this.#known.filter(({ name }) => !this.#used.has(name)).map(({ name }) => name);
  }
}
