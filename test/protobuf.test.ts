/** Protocol Buffers: bytes of the specification, and everything that is written is read again. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Reader, Writer } from '../src/flannel/protobuf.ts';

describe('Protocol Buffers', () => {
  it('are the bytes of the specification', () => {
    const hex = (writer: Writer) => writer.done().toString('hex');
    assert.equal(hex(new Writer().number(1, 150)), '089601');
    assert.equal(hex(new Writer().bytes(2, 'testing')), '120774657374696e67');
    assert.equal(hex(new Writer().message(3, new Writer().number(1, 150))), '1a03089601');
    assert.equal(hex(new Writer().number(1, -2)), '08feffffffffffffffff01');
    assert.equal(hex(new Writer().number(1, 0).flag(2, false).bytes(3, '').message(4, new Writer())), '2200');
  });

  it('read what was written, in any order, and skip what nobody asks for', () => {
    const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    fc.assert(
      fc.property(
        int64,
        fc.maxSafeNat(),
        fc.string(),
        fc.boolean(),
        fc.nat(2 ** 28),
        (big, small, text, flag, field) => {
          const number = 5 + field;
          const buffer = new Writer()
            .bytes(4, text)
            .number(2, big)
            .number(3, small)
            .flag(1, flag)
            .number(number, 7)
            .done();
          const got = { big: 0n, small: 0, text: '', flag: false };
          const reader = new Reader(buffer);
          let last = 0;
          for (let at = reader.next(); at !== 0; at = reader.next()) {
            if (at === 1) got.flag = reader.number() === 1;
            else if (at === 2) got.big = reader.bigint();
            else if (at === 3) got.small = reader.number();
            else if (at === 4) got.text = reader.text();
            last = at;
          }
          assert.deepEqual(got, { big, small, text, flag });
          assert.equal(last, number);
        },
      ),
    );
    const negative = new Reader(new Writer().number(1, -1).done());
    negative.next();
    assert.equal(negative.number(), -1);
  });

  it('that break off or are nonsense end in a RangeError, never anywhere else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const reader = new Reader(Buffer.from(bytes));
        try {
          for (let field = reader.next(); field !== 0; field = reader.next())
            if (field % 2 === 0) reader.bytes();
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
    const reader = new Reader(Buffer.from([0x0a, 0x05, 0x01]));
    reader.next();
    assert.throws(() => reader.bytes(), RangeError);
  });
});
