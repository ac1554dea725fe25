/**
 * Random requests to an FDB, as objects for ours and as words for `bridge`. Few MACs, addresses and words, so that
 * they meet. Left out is what the kernel is known to do otherwise (test/fdb-kernel.test.ts says what that is).
 */
import fc from 'fast-check';
import type { FdbFlush, FdbRequest } from '../../src/types.ts';

export type Get = { op: 'get'; dev: string; mac: string; vni?: number };
export type Operation = FdbRequest | Get | (FdbFlush & { op: 'flush' });

const UNICAST = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03', '02:00:00:00:00:04'];
const GROUPS = ['00:00:00:00:00:00', '01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '33:33:00:00:00:01'];
const DST = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '239.1.1.1', '0.0.0.0', '2001:db8::1'];
const DST6 = ['2001:db8::1', '2001:db8::2', 'fe80::1', 'ff05::1', '::', '192.0.2.1'];

const dev = fc.constantFrom('vx0', 'vx0', 'vx1', 'vx6', 'ex0');
const mac = fc.constantFrom(...UNICAST, ...GROUPS);
/** One time in `n`. */
const oneIn = <T>(n: number, of: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: fc.constant(undefined), weight: n - 1 }, { arbitrary: of, weight: 1 });
const rarely = <T>(of: fc.Arbitrary<T>) => oneIn(5, of);
const sometimes = fc.constant(true);

const change = fc
  .record({
    op: fc.constantFrom('add', 'append', 'append', 'replace', 'replace', 'del'),
    dev,
    mac,
    to: fc.nat(DST.length - 1),
    no_dst: fc.integer({ min: 0, max: 3 }),
    port: rarely(fc.constantFrom(1, 4789, 8472, 4790)),
    vni: rarely(fc.constantFrom(0, 5, 6, 7, 77, 16777215)),
    via: rarely(fc.constantFrom('v1', 'v3')),
    src_vni: oneIn(2, fc.constantFrom(0, 5, 77)),
    nhid: oneIn(3, fc.constantFrom(1, 10, 10, 11, 11, 20, 30, 40, 99)),
    state: fc.constantFrom('permanent', 'static', 'dynamic', undefined),
    router: rarely(sometimes),
    extern_learn: rarely(sometimes),
    sticky: rarely(sometimes),
    master: rarely(sometimes),
    use: rarely(sometimes),
  })
  .map(({ to, no_dst, nhid, port, vni, src_vni, ...given }) => {
    const isGroup = GROUPS.includes(given.mac);
    const external = given.dev === 'ex0' ? { src_vni } : {};
    // A table of its own tests what groups of nexthops do to group MACs.
    if (nhid !== undefined && !isGroup) return { ...given, ...external, nhid };
    const dst = no_dst === 0 && given.op === 'del' ? undefined : (given.dev === 'vx6' ? DST6 : DST)[to];
    return { ...given, ...external, dst, port, vni };
  });

const get = fc.record({ op: fc.constant('get'), dev, mac, vni: rarely(fc.constantFrom(0, 5, 77)) });

const filter = oneIn(4, fc.boolean());
const flush = fc.record({
  op: fc.constant('flush'),
  dev,
  permanent: filter,
  static: filter,
  dynamic: filter,
  extern_learn: filter,
  sticky: fc.constantFrom(undefined, undefined, false, true),
  offloaded: fc.constantFrom(undefined, undefined, undefined, false, true),
});

export const operation: fc.Arbitrary<Operation> = fc
  .oneof({ arbitrary: change, weight: 12 }, { arbitrary: get, weight: 1 }, { arbitrary: flush, weight: 1 })
  .map(
    (made) =>
      Object.fromEntries(
        Object.entries(made).filter(([, value]) => value !== undefined),
      ) as unknown as Operation,
  );

const zeroOr = (...numbers: number[]) => rarely(fc.constantFrom(0, ...numbers));

/** All that the kernel can flush by, also what is not yet a word of every `bridge`. */
export const flushFilter: fc.Arbitrary<FdbFlush> = fc
  .record({
    dev,
    dst: rarely(fc.constantFrom(...DST.slice(0, 5))),
    port: zeroOr(1, 4789, 8472, 4790),
    vni: zeroOr(5, 6, 7, 77),
    src_vni: zeroOr(5, 7, 77),
    nhid: zeroOr(10, 11, 99),
    permanent: rarely(fc.boolean()),
    static: rarely(fc.boolean()),
    dynamic: rarely(fc.boolean()),
    extern_learn: rarely(fc.boolean()),
    router: rarely(fc.boolean()),
    sticky: rarely(fc.constantFrom(false, false, true)),
    offloaded: rarely(fc.constantFrom(false, false, true)),
  })
  .map(
    (made) =>
      Object.fromEntries(
        Object.entries(made).filter(([, value]) => value !== undefined),
      ) as unknown as FdbFlush,
  );

/** As `bridge` takes them. Words of a flush that clear a bit stand before those that set one: the last one counts. */
export function wordsOf(operation: Operation): string {
  const { op, dev } = operation;
  if (op === 'flush') {
    const order = ['nopermanent', 'nostatic', 'dynamic', 'permanent', 'static', 'nodynamic'];
    const words = Object.entries(operation)
      .filter(([key]) => key !== 'op' && key !== 'dev')
      .map(([key, asked]) => (asked ? key : `no${key}`))
      .sort((one, other) => order.indexOf(one) - order.indexOf(other));
    return ['fdb flush dev', dev, ...words].join(' ');
  }
  if (op === 'get') {
    const { mac, vni } = operation as Get;
    return `fdb get ${mac} dev ${dev} self${vni === undefined ? '' : ` vni ${vni}`}`;
  }
  const { mac, state, ...request } = operation as FdbRequest;
  const words = ['fdb', op, mac, 'dev', dev, 'self'];
  for (const key of ['dst', 'port', 'vni', 'via', 'src_vni', 'nhid'] as const)
    if (request[key] !== undefined) words.push(key, String(request[key]));
  for (const key of ['router', 'extern_learn', 'sticky', 'master', 'use'] as const)
    if (request[key]) words.push(key);
  return [...words, ...(state ? [state] : [])].join(' ');
}
