import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { ForwardedPackets } from '../src/vtep/forwarded.ts';

/** Naive: every value of both files by its name. */
function values(): Map<string, number> {
  const all = new Map<string, number>();
  const lines = readFileSync('/proc/net/snmp', 'utf8').split('\n');
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const names = lines[at]!.split(/:? /);
    const numbers = lines[at + 1]!.split(/:? /);
    for (let i = 1; i < names.length; ++i) all.set(`${names[0]}${names[i]}`, Number(numbers[i]));
  }
  for (const line of readFileSync('/proc/net/snmp6', 'utf8').split('\n')) {
    const [name, number] = line.split(/\s+/);
    if (name) all.set(name, Number(number));
  }
  return all;
}

test('as many as the files say, also at the second look', () => {
  for (const ipv6 of [false, true]) {
    const packets = new ForwardedPackets(ipv6);
    try {
      for (const _ of [1, 2]) {
        const expected = () => {
          const all = values();
          return all.get('IpForwDatagrams')! + (ipv6 ? all.get('Ip6OutForwDatagrams')! : 0);
        };
        const [before, count, after] = [expected(), packets.count(), expected()];
        assert.ok(
          Number.isInteger(count) && before <= count && count <= after,
          `${before} ${count} ${after}`,
        );
      }
    } finally {
      packets.close();
    }
  }
});

test('nothing stays open', () => {
  const open = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).includes('/net/snmp');
      } catch {
        return false;
      }
    }).length;
  const before = open();
  const packets = new ForwardedPackets(true);
  assert.equal(open(), before + 2);
  packets.close();
  assert.equal(open(), before);
});
