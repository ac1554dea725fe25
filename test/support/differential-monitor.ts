/** What the monitors of either kind say: `bridge monitor fdb`, `ip monitor neigh` and `vxlane monitor`. */

/** Lines of a monitor as they come: those of VXLAN devices' own tables, blanks made one. */
export class Heard {
  #lines: string[] = [];
  #rest = '';

  hear(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const isMiss = line.startsWith('miss ');
      const isEntry = / self\b/.test(line) && !/ master /.test(line);
      if (isMiss || isEntry) this.#lines.push(line.trim().replace(/ +/g, ' '));
    }
  }

  take(): string[] {
    const lines = this.#lines;
    this.#lines = [];
    return lines;
  }
}
