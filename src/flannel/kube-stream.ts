/**
 * Reads the two long answers of an API server piece by piece: a list of thousands of objects and a watch that
 * never ends. One object is held at a time, whatever the server makes of `limit`.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** The list itself is 1 deep, its `items` 2, an item 3. */
const ITEMS_DEPTH = 2;

type Chunks = AsyncIterable<Uint8Array>;

/**
 * `{"kind":"NodeList",...,"items":[{...},{...}]}`: hands over each item of the arrays right below the top as it
 * becomes whole. Returns the rest of the list, with a 0 in the place of each item.
 * @throws SyntaxError for what isn't JSON, and for a list that is cut short
 */
export async function readList(chunks: Chunks, item: (value: unknown) => void): Promise<unknown> {
  const skeleton: string[] = [];
  let pieces: Buffer[] = [];
  let depth = 0;
  let inArray = false;
  let inItem = false;
  let inString = false;
  let escaped = false;
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (byte === OPEN_BRACE && depth === ITEMS_DEPTH && inArray) {
          skeleton.push(bytes.toString('latin1', start, at), '0');
          start = at;
          inItem = true;
        }
        depth++;
        if (depth === ITEMS_DEPTH) inArray = byte === OPEN_BRACKET;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth--;
        if (depth === ITEMS_DEPTH && inItem) {
          pieces.push(bytes.subarray(start, at + 1));
          item(JSON.parse(joined(pieces)));
          pieces = [];
          start = at + 1;
          inItem = false;
        }
      }
    }
    if (inItem) pieces.push(bytes.subarray(start));
    else skeleton.push(bytes.toString('latin1', start));
  }
  return JSON.parse(skeleton.join(''));
}

/** One JSON object a line. Yields the objects of each chunk together. @throws SyntaxError */
export async function* readLines(chunks: Chunks): AsyncGenerator<unknown[]> {
  let pieces: Buffer[] = [];
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const values: unknown[] = [];
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      pieces.push(bytes.subarray(start, end));
      start = end + 1;
      const line = joined(pieces);
      pieces = [];
      if (line.trim() !== '') values.push(JSON.parse(line));
    }
    if (start < bytes.length) pieces.push(bytes.subarray(start));
    if (values.length > 0) yield values;
  }
}

function joined(pieces: Buffer[]): string {
  return (pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)).toString();
}
