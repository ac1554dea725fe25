/**
 * Who talks most, in mirrored traffic: a collector for AWS Traffic Mirroring, Azure's virtual network TAP, Antrea, or a
 * Linux vxlan device. No root, no device, no configuration of VNIs.
 *
 *   node top-talkers.js                 mirrors made-up traffic to itself for a second
 *   node top-talkers.js 4789 [10]       receives on UDP 4789 and prints every 10 seconds, until Ctrl-C
 *
 * The sink's thread receives; `onPackets` gets many packets at a time, each with its VNI, its mirror and its length before
 * anybody cut it.
 */
import { createSocket } from 'node:dgram';
import { setTimeout as pause } from 'node:timers/promises';
import { createDataplane, createSink } from 'vxlane';
import { flowOf, udpFrame } from './frames.js';

const LINES = 10;

/** @type {Map<string, { packets: number, bytes: number }>} */
const talkers = new Map();

/** @import { SinkPacket } from 'vxlane' */

/** @type {(packets: SinkPacket[]) => void} */
function onPackets(packets) {
  for (const { vni, data, originalLength } of packets) {
    const flow = flowOf(data);
    const who = flow
      ? `${flow.protocol} ${flow.src}:${flow.sport} > ${flow.dst}:${flow.dport}`
      : 'neither TCP nor UDP over IPv4';
    const key = `vni ${vni}  ${who}`;
    const { packets, bytes } = talkers.get(key) ?? { packets: 0, bytes: 0 };
    talkers.set(key, { packets: packets + 1, bytes: bytes + originalLength });
  }
}

function print() {
  const top = [...talkers].sort(([, a], [, b]) => b.bytes - a.bytes).slice(0, LINES);
  for (const [who, { packets, bytes }] of top)
    console.log(`${String(bytes).padStart(12)} bytes ${String(packets).padStart(8)} packets  ${who}`);
  talkers.clear();
}

const [port, seconds = '10'] = process.argv.slice(2);
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
// Headers are enough to tell who talks; the lengths are known all the same.
const sink = await createSink({
  ports: [Number(port ?? 0)],
  ...(port === undefined ? { address: '127.0.0.1' } : {}),
  snaplen: 64,
  onPackets,
  signal: stop.signal,
});
console.log(`receiving on UDP ${sink.ports} (${sink.engine})`);

if (port === undefined) {
  await mirrorTo(sink.ports[0] ?? 0);
  await sink.close();
  print();
} else {
  const timer = setInterval(print, Number(seconds) * 1000);
  await sink.ended;
  clearInterval(timer);
  print();
}
const { counters, kernelDrops } = await sink.ended;
console.log(
  `${counters.packets} packets of ${counters.datagrams} datagrams; lost in the kernel: ${kernelDrops ?? 'unknown'}`,
);

/** A mirror session: frames of three conversations in two VNIs, as datagrams. @type {(port: number) => Promise<void>} */
async function mirrorTo(port) {
  const [address, remote] = ['02:00:00:00:00:ff', '127.0.0.1'];
  const dataplane = createDataplane();
  dataplane.addDevice({ name: 'web', vni: 100, address, remote, port });
  dataplane.addDevice({ name: 'dns', vni: 200, address, remote, port });
  const ends = { to: '02:00:00:00:00:01', from: '02:00:00:00:00:02' };
  const video = udpFrame({
    ...ends,
    src: '10.0.0.9',
    dst: '10.0.0.2',
    sport: 443,
    dport: 50001,
    bytes: 1200,
  });
  const voice = udpFrame({
    ...ends,
    src: '10.0.0.2',
    dst: '10.0.0.9',
    sport: 50002,
    dport: 3478,
    bytes: 160,
  });
  const query = udpFrame({ ...ends, src: '10.1.0.3', dst: '10.1.0.53', sport: 50003, dport: 53, bytes: 40 });
  const socket = createSocket('udp4');
  for (let round = 0; round < 100; ++round) {
    const datagrams = [
      ...dataplane.encap('web', video),
      ...dataplane.encap('web', voice),
      ...(round % 10 === 0 ? dataplane.encap('dns', query) : []),
    ];
    for (const { bytes, port, address } of datagrams) socket.send(bytes, port, address);
    await pause(5);
  }
  socket.close();
  dataplane.close();
}
