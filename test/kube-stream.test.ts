/** Lists and watches read piece by piece, against JSON.parse of the whole. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readLines, readList } from '../src/flannel/kube-stream.ts';

async function* pieces(text: string, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    yield bytes.subarray(start, end);
    start = end;
  }
}

const cuts = fc.array(fc.nat(), { maxLength: 12 });
const item = fc.dictionary(fc.string(), fc.jsonValue());

describe('a list', () => {
  it('gives its items one by one, wherever it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(item),
        fc.string(),
        cuts,
        fc.boolean(),
        async (items, version, at, isSpaced) => {
          const list = {
            kind: 'NodeList',
            metadata: { resourceVersion: version, more: [[{}], 1] },
            items,
            after: 1,
          };
          const text = JSON.stringify(list, undefined, isSpaced ? 2 : 0);
          const found: unknown[] = [];
          const rest = await readList(pieces(text, at), (one) => found.push(one));
          const { items: expected, ...others } = JSON.parse(text) as typeof list;
          assert.deepEqual(found, expected);
          // Text of the frame is read as Latin-1: only ASCII is compared.
          if (/^[\x20-\x7e]*$/.test(version))
            assert.deepEqual(rest, { ...others, items: items.map(() => 0) });
        },
      ),
      { numRuns: 500 },
    );
  });

  it('that is cut short, or is none, is refused', async () => {
    const text = '{"kind":"NodeList","items":[{"a":{"b":"}]"}},{"a":2}]}';
    for (let end = 0; end < text.length; end++) {
      await assert.rejects(
        readList(pieces(text.slice(0, end), []), () => {}),
        SyntaxError,
        `${end}`,
      );
    }
    await assert.rejects(
      readList(pieces('{"items":[{x}]}', []), () => {}),
      SyntaxError,
    );
    await assert.rejects(
      readList(pieces('<html>', []), () => {}),
      SyntaxError,
    );
  });

  it('is held one item at a time', async () => {
    let seen = 0;
    let ahead = 0;
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('{"items":[');
      for (given = 1; given <= 1000; given++) {
        yield Buffer.from(`${given > 1 ? ',' : ''}{"n":${given}}`);
        ahead = Math.max(ahead, given - seen);
      }
      yield Buffer.from(']}');
    }
    await readList(endless(), () => seen++);
    assert.equal(seen, 1000);
    assert.equal(ahead, 0);
  });
});

describe('a watch', () => {
  it('gives an object a line, wherever it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(item), cuts, async (objects, at) => {
        const text = objects.map((one) => `${JSON.stringify(one)}\n`).join('');
        const found: unknown[] = [];
        for await (const values of readLines(pieces(text, at))) found.push(...values);
        assert.deepEqual(found, JSON.parse(`[${text.trim().split('\n').filter(Boolean).join(',')}]`));
      }),
      { numRuns: 500 },
    );
  });

  it('gives together what came together, and leaves an unfinished line', async () => {
    const batches: unknown[][] = [];
    for await (const values of readLines(pieces('{"a":1}\n\n{"a":2}\n{"a":3}\n{"a"', [17, 20])))
      batches.push(values);
    assert.deepEqual(batches, [[{ a: 1 }, { a: 2 }], [{ a: 3 }]]);
  });

  it('refuses a line that is no JSON', async () => {
    const read = async () => {
      for await (const _ of readLines(pieces('{"a":1}\n<html>\n', [])));
    };
    await assert.rejects(read(), SyntaxError);
  });
});
