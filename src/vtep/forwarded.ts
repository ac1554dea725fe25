/**
 * How many packets this network namespace has forwarded: `ForwDatagrams` of /proc/net/snmp, `Ip6OutForwDatagrams` of
 * /proc/net/snmp6. It is looked at twice a second for as long as the underlay TAP stands, so the files stay open.
 */
import { closeSync, openSync, readSync } from 'node:fs';

/** More than either file has before the count. */
const HEAD_BYTES = 4096;

export class ForwardedPackets {
  readonly #head = Buffer.allocUnsafe(HEAD_BYTES);
  readonly #ipv4 = openSync('/proc/net/snmp', 'r');
  readonly #ipv6: number | undefined;

  /**
   * @param ipv6 those over IPv6, too
   * @throws Error where /proc is not mounted
   */
  constructor(ipv6: boolean) {
    if (ipv6) this.#ipv6 = openSync('/proc/net/snmp6', 'r');
  }

  /** Since the namespace was made. */
  count(): number {
    // "Ip: Forwarding DefaultTTL ...", and the same line with values.
    const [names, values] = this.#read(this.#ipv4).split('\n', 2);
    const column = names!.split(' ').indexOf('ForwDatagrams');
    const ipv4 = Number(values!.split(' ')[column] ?? 0);
    if (this.#ipv6 === undefined) return ipv4;
    const ipv6 = /^Ip6OutForwDatagrams\s+(\d+)$/m.exec(this.#read(this.#ipv6));
    return ipv4 + Number(ipv6?.[1] ?? 0);
  }

  close(): void {
    closeSync(this.#ipv4);
    if (this.#ipv6 !== undefined) closeSync(this.#ipv6);
  }

  #read(fd: number): string {
    return this.#head.toString('latin1', 0, readSync(fd, this.#head, 0, HEAD_BYTES, 0));
  }
}
