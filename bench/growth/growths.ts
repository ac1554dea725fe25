/** The five growths: what a frame costs against what the tables hold, how many copies it has, how long it is. */
import {
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAGS_OFFSET,
  DEVICE_VLANS_OFFSET,
  DEVICES_BASE,
  FDB_CAPACITY,
  VIRTIO_HEADER_BYTES,
  VLAN_COUNT,
  VLANS_BASE,
} from '../../assembly/layout.ts';
import type { Dataplane } from '../../src/dataplane/dataplane.ts';
import { writeDomain } from '../../src/dataplane/domains.ts';
import { ethernet, ipv4 } from '../../test/support/frames.ts';
import { tcp } from '../../test/support/messages.ts';
import { mulberry32 } from '../../test/support/reference.ts';
import { superHeader } from '../../test/support/virtio.ts';
import { median } from '../samples.ts';
import type { Chart } from './chart.ts';
import { type Burst, inTurns } from './measure.ts';
import type { Point } from './shape.ts';
import { DEVICE, decapOf, encapOf, LISTENER, macOf, place, planeOf, udpFrame } from './walks.ts';

export interface Growth extends Chart {
  /** File name without its ending, and the word on the command line. */
  name: string;
  /** One of what grows. */
  unit: string;
}

const FRAME_BYTES = 64;
const ROUNDS = 9;
const PICKS = 1 << 20;
const FIRST_DOMAIN = DEVICE_COUNT;
const SUPER_SEGMENT_BYTES = 1448;
const Y_LABEL = 'ns per frame';

/** Random numbers below `count`, drawn before anything is timed. */
function picks(count: number): () => number {
  const random = mulberry32(count);
  const drawn = Uint32Array.from({ length: PICKS }, () => Math.floor(random() * count));
  let next = 0;
  return () => drawn[next++ & (PICKS - 1)]!;
}

/** Measures every burst of every x in turns of its own, the series side by side. */
function curves(points: readonly number[], burstsAt: (x: number) => Record<string, Burst>): Chart['series'] {
  const series = new Map<string, Point[]>();
  for (const x of points) {
    for (const [name, samples] of Object.entries(inTurns(burstsAt(x), ROUNDS))) {
      series.set(name, [...(series.get(name) ?? []), [x, median(samples)]]);
    }
  }
  return [...series].map(([name, of]) => ({ name, points: of }));
}

/** Random destinations out, random sources in, with learning on: each frame finds its entry. */
function fdb(): Growth {
  const plane = planeOf(true);
  const { bytes } = plane.views;
  const words = new Uint16Array(bytes.buffer);
  const writeMac = (at: number, number: number) => {
    words[at >>> 1] = ((number & 0xff) << 8) | 2;
    words[(at >>> 1) + 1] = number >>> 8;
  };
  let filled = 0;
  const points = Array.from({ length: 7 }, (_, power) => 10 ** power);
  const series = curves(points, (entries) => {
    for (; filled < Math.min(entries, FDB_CAPACITY); filled++)
      place(plane, DEVICE, macOf(filled), ['10.0.0.1']);
    const out = encapOf(plane, udpFrame(FRAME_BYTES), 1);
    const way = decapOf(plane, udpFrame(FRAME_BYTES));
    const pick = picks(entries);
    return {
      encap: {
        ...out.burst,
        prepare: () => {
          for (const frame of out.frames) writeMac(frame, pick());
        },
      },
      'decap, learning': {
        ...way.burst,
        prepare: () => {
          for (const datagram of way.frames) writeMac(datagram + 14, pick());
        },
      },
    };
  });
  return {
    ...{ name: 'fdb', unit: 'entry', title: 'Cost against FDB entries, random look-ups' },
    ...{ xLabel: 'entries', yLabel: Y_LABEL, xScale: 'log', series },
  };
}

/** An external device: VNIs told apart by VLAN on the way out, by the header on the way in. */
function vnis(): Growth {
  const plane = planeOf();
  const { view, u32 } = plane.views;
  const record = DEVICES_BASE + DEVICE * DEVICE_BYTES;
  const flags = record + DEVICE_FLAGS_OFFSET;
  view.setUint32(flags, view.getUint32(flags, true) | DEVICE_FLAG_EXTERNAL, true);
  view.setUint16(record + DEVICE_VLANS_OFFSET, 1, true);
  let made = 0;
  const vniOf = (number: number) => 2 + number;
  // VLAN ids end at 4094: two VNIs of 4096 share a VLAN, as they may on the way in.
  const vlanOf = (number: number) => 1 + (number % (VLAN_COUNT - 2));
  const series = curves([1, 4, 16, 64, 256, 1024, 4096], (count) => {
    for (; made < count; made++) {
      const domain = FIRST_DOMAIN + made;
      writeDomain(view, domain, { device: DEVICE, vni: vniOf(made), vlan: vlanOf(made) });
      plane.vni.add(LISTENER, vniOf(made), domain, DEVICE);
      view.setUint16(VLANS_BASE + vlanOf(made) * 2, domain, true);
      place(plane, domain, macOf(0), ['10.0.0.1']);
    }
    const pick = picks(count);
    const way = decapOf(plane, udpFrame(FRAME_BYTES));
    // The walk writes the tag over the header, and moves the MACs.
    const macs = u32.slice((way.frames[0]! + 8) >>> 2, (way.frames[0]! + 20) >>> 2);
    const write = (datagram: number, vni: number) => {
      const word = datagram >>> 2;
      u32[word] = 8;
      u32[word + 1] = ((vni & 0xff) << 16) | (vni & 0xff00);
      u32[word + 2] = macs[0]!;
      u32[word + 3] = macs[1]!;
      u32[word + 4] = macs[2]!;
    };
    return {
      encap: encapTagged(plane, () => vlanOf(pick())),
      decap: {
        ...way.burst,
        prepare: () => {
          for (const datagram of way.frames) write(datagram, vniOf(pick()));
        },
      },
    };
  });
  return {
    ...{ name: 'vnis', unit: 'VNI', title: 'Cost against VNIs of a device, random ones' },
    ...{ xLabel: 'VNIs', yLabel: Y_LABEL, xScale: 'log', series },
  };
}

/** Tagged frames. The walk takes the tag off, so MACs, tag and descriptor are written anew for each batch. */
function encapTagged(plane: Dataplane, vlan: () => number): Burst {
  const { u32 } = plane.views;
  const frame = udpFrame(FRAME_BYTES);
  const tagged = Uint8Array.from([...frame.subarray(0, 12), 0x81, 0, 0, 1, ...frame.subarray(12)]);
  const { frames, descriptors, burst } = encapOf(plane, tagged, 1);
  const macs = new Uint32Array(tagged.buffer.slice(0, 12));
  const tag = (id: number) => 0x81 | ((id >>> 8) << 16) | ((id & 0xff) << 24);
  const slots = descriptors.map((descriptor) => descriptor >>> 2);
  const prepare = () => {
    for (const at of frames) {
      const word = at >>> 2;
      u32[word] = macs[0]!;
      u32[word + 1] = macs[1]!;
      u32[word + 2] = macs[2]!;
      u32[word + 3] = tag(vlan());
    }
    for (let slot = 0; slot < slots.length; slot++) {
      const word = slots[slot]!;
      u32[word] = frames[slot % frames.length]! - VIRTIO_HEADER_BYTES;
      u32[word + 1] = tagged.length;
      u32[word + 2] = DEVICE;
    }
  };
  return { ...burst, prepare };
}

/** Random source ports inside. In a batch, flows of one port leave in one message. */
function flows(): Growth {
  const plane = planeOf();
  const { bytes } = plane.views;
  const words = new Uint16Array(bytes.buffer);
  place(plane, DEVICE, macOf(0), ['10.0.0.1']);
  const series = curves([1, 10, 100, 1000, 10_000], (count) => {
    const pick = picks(count);
    const out = encapOf(plane, udpFrame(FRAME_BYTES), 1);
    const way = decapOf(plane, udpFrame(FRAME_BYTES));
    const write = (port: number) => {
      words[port >>> 1] = 1024 + pick();
    };
    return {
      encap: {
        ...out.burst,
        prepare: () => {
          for (const frame of out.frames) write(frame + 34);
        },
      },
      decap: {
        ...way.burst,
        prepare: () => {
          for (const datagram of way.frames) write(datagram + 8 + 34);
        },
      },
    };
  });
  return {
    ...{ name: 'flows', unit: 'flow', title: 'Cost against flows, random ones' },
    ...{ xLabel: 'flows', yLabel: Y_LABEL, xScale: 'log', series },
  };
}

/** Frames to a MAC that nobody knows. */
function remotes(): Growth {
  const series = curves([1, 2, 4, 8, 16, 32, 64, 128, 256], (count) => {
    const plane = planeOf();
    const addresses = Array.from({ length: count }, (_, n) =>
      `10.0.${n >> 8}.${n & 255}`.replace(/\.0$/, '.254'),
    );
    place(plane, DEVICE, { low: 0, high: 0 }, addresses);
    return { 'encap, flooded': encapOf(plane, udpFrame(FRAME_BYTES), count).burst };
  });
  return {
    ...{ name: 'remotes', unit: 'remote', title: 'Cost against remotes of a flooded frame' },
    ...{ xLabel: 'remotes', yLabel: Y_LABEL, xScale: 'log', yScale: 'log', series },
  };
}

/** Plain frames of any length, and TCP super-frames, which are split and summed. */
function bytes(): Growth {
  const plane = planeOf();
  place(plane, DEVICE, macOf(0), ['10.0.0.1']);
  const lengths = [64, 256, 1024, 1514, 4096, 9014, 16_384, 32_768, 65_499];
  const series = curves(lengths, (length) => ({
    encap: encapOf(plane, udpFrame(length), 1).burst,
    decap: decapOf(plane, udpFrame(length)).burst,
  }));
  const split = curves(
    lengths.filter((length) => length > 1514),
    (length) => {
      const frame = ethernet(
        { destination: '02:00:00:00:00:00' },
        ipv4({}, tcp({}, new Uint8Array(length - 54))),
      );
      const segments = Math.ceil((length - 54) / SUPER_SEGMENT_BYTES);
      return {
        'encap, super-frame': encapOf(plane, frame, segments, superHeader(frame, SUPER_SEGMENT_BYTES)).burst,
      };
    },
  );
  return {
    ...{ name: 'bytes', unit: 'byte', title: 'Cost against frame size' },
    ...{ xLabel: 'bytes', yLabel: Y_LABEL, xScale: 'log', yScale: 'log', series: [...series, ...split] },
  };
}

export const GROWTHS: Record<string, () => Growth> = { fdb, vnis, flows, remotes, bytes };
