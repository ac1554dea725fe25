/**
 * Where the lines go. A terminal shows one page that is drawn over; a pipe or file gets a line a second.
 * Colours only on a terminal, and not where NO_COLOR is set.
 */
import type { Paint } from './view.ts';

const ESC = '\u001b[';
const CLEAR_BELOW = `${ESC}J`;
const HIDE_CURSOR = `${ESC}?25l`;
const SHOW_CURSOR = `${ESC}?25h`;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is looked for
const COLOUR = /\u001b\[[0-9;]*m/g;

const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;

export function paintFor(stream: NodeJS.WriteStream): Paint {
  const colour = stream.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  const style = (code: number) => (text: string) => (colour && text ? `${ESC}${code}m${text}${ESC}0m` : text);
  return { bold: style(1), dim: style(2), green: style(32), red: style(31) };
}

/** A page on a terminal, drawn again in place. */
export class Screen {
  readonly #stream: NodeJS.WriteStream;
  #drawn = 0;
  readonly #resized = () => {
    // What the terminal made of the old lines is unknown: begin on a clean page.
    this.#stream.write(`${ESC}2J${ESC}H`);
    this.#drawn = 0;
  };

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    stream.on('resize', this.#resized);
    stream.write(HIDE_CURSOR);
  }

  draw(lines: readonly string[]): void {
    const { columns = DEFAULT_COLUMNS, rows = DEFAULT_ROWS } = this.#stream;
    const up = this.#drawn > 0 ? `${ESC}${this.#drawn}A\r` : '';
    const page: string[] = [];
    this.#drawn = 0;
    for (const line of lines) {
      const height = rowsOf(line, columns);
      if (this.#drawn + height >= rows) break;
      page.push(`${line}\n`);
      this.#drawn += height;
    }
    this.#stream.write(`${up}${CLEAR_BELOW}${page.join('')}`);
  }

  close(): void {
    this.#stream.off('resize', this.#resized);
    this.#stream.write(SHOW_CURSOR);
  }
}

/** A long line is left to the terminal to break, so that a command can be copied whole. */
function rowsOf(line: string, columns: number): number {
  return Math.max(1, Math.ceil(line.replace(COLOUR, '').length / columns));
}
