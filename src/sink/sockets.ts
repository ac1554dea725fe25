/** The sockets of a batched sink: one per port and family. */
import ipaddr from 'ipaddr.js';
import { VtepError } from '../errors.ts';
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { syscalls } from '../io/syscalls.ts';
import {
  ADDRESS_MISSING,
  hasFamily,
  openListener,
  PORT_TAKEN,
  portOf,
  setGro,
  tellTimes,
} from '../io/udp.ts';

/** @throws VtepError IN_USE, PERMISSION or SYSTEM; nothing stays open */
export function openSockets(ports: readonly number[], address: string, bufferBytes: number): number[] {
  const sockets: number[] = [];
  try {
    for (const wanted of ports) {
      let port = wanted;
      for (const family of familiesOf(address)) {
        const fd = open(family, port, address, bufferBytes);
        sockets.push(fd);
        // The other family takes the port that the first has found.
        port = portOf(fd);
      }
    }
    return sockets;
  } catch (error) {
    closeSockets(sockets);
    throw error;
  }
}

export function closeSockets(sockets: readonly number[]): void {
  for (const fd of sockets) syscalls().close(fd);
}

function familiesOf(address: string): Family[] {
  if (address === '') return ([AF_INET, AF_INET6] as Family[]).filter(hasFamily);
  if (!ipaddr.isValid(address)) throw new VtepError('USAGE', `sink: address "${address}" is no IP address`);
  return [ipaddr.parse(address).kind() === 'ipv4' ? AF_INET : AF_INET6];
}

function open(family: Family, port: number, local: string, bufferBytes: number): number {
  const fd = openListener({ family, port, local, scope: 0, zeroChecksum: true, bufferBytes });
  if (fd === PORT_TAKEN)
    throw new VtepError(
      'IN_USE',
      `sink: UDP port ${port}: EADDRINUSE: a vxlan device or another program has it ("ss -lunp" shows which)`,
    );
  if (fd === ADDRESS_MISSING)
    throw new VtepError('SYSTEM', `sink: address ${local}: EADDRNOTAVAIL: it is not this host's`);
  setGro(fd, true);
  tellTimes(fd);
  return fd;
}
