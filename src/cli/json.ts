/**
 * JSON as iproute2 prints it: on one line, or with -p indented in its own way, so that the output can stand
 * in for theirs byte by byte.
 */
const INDENT = '    ';

export function toJson(value: unknown, pretty: boolean): string {
  return `${pretty ? render(value, 0) : JSON.stringify(value)}\n`;
}

/** Arrays stay on the line they begin on; each key of an object gets a line of its own. */
function render(value: unknown, depth: number): string {
  if (Array.isArray(value)) {
    const items = value.map((item) => render(item, depth + 1)).join(',');
    return items === '' ? '[ ]' : `[ ${items} ]`;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const lines = Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .map(
      ([key, inner]) => `\n${INDENT.repeat(depth + 1)}${JSON.stringify(key)}: ${render(inner, depth + 1)}`,
    );
  return lines.length === 0 ? '{}' : `{${lines.join(',')}\n${INDENT.repeat(depth)}}`;
}
