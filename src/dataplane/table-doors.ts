/** The tables as an embedder has them: what is handed in is looked at first, and a dataplane that is closed says so. */
import type { Dataplane } from './dataplane.ts';
import type { EmbeddedFdb, EmbeddedMdb, EmbeddedPeers, EmbeddedVnis } from './embedded-types.ts';
import { check, checkShape, type Shape } from './shape.ts';

const FDB: Shape = {
  ...{ dst: 'text', port: 'number', vni: 'number', via: 'text', src_vni: 'number', nhid: 'number' },
  ...{ state: 'text', router: 'flag', extern_learn: 'flag', sticky: 'flag', master: 'flag', use: 'flag' },
};
const FDB_FLUSH: Shape = {
  ...{ dst: 'text', port: 'number', vni: 'number', src_vni: 'number', nhid: 'number', permanent: 'flag' },
  ...{
    static: 'flag',
    dynamic: 'flag',
    extern_learn: 'flag',
    router: 'flag',
    sticky: 'flag',
    offloaded: 'flag',
  },
};
const VNI: Shape = { remote: 'text', group: 'text', vlan: 'range', pvid: 'flag', untagged: 'flag' };
const MDB: Shape = {
  ...{ src: 'text', filter_mode: 'text', source_list: 'texts', proto: 'text' },
  ...{ dst_port: 'number', vni: 'number', src_vni: 'number', via: 'text' },
};
const MDB_FLUSH: Shape = {
  ...{ src_vni: 'number', proto: 'text', permanent: 'flag', dst: 'text', dst_port: 'number', vni: 'number' },
};

export interface TableDoors {
  readonly fdb: EmbeddedFdb;
  readonly vnis: EmbeddedVnis;
  readonly mdb: EmbeddedMdb;
  readonly peers: EmbeddedPeers;
}

/** @param open throws VtepError USAGE when the dataplane is closed */
export function tableDoors(open: () => Dataplane): TableDoors {
  return {
    fdb: {
      apply(request) {
        checkShape('fdb', request, { op: 'text', dev: 'text', mac: 'text' }, FDB);
        open().fdb.apply(request);
      },
      show: (dev) => open().fdb.show(named('fdb show', dev)),
      get(dev, mac, vni) {
        checkShape('fdb get', { dev, mac, vni }, { dev: 'text', mac: 'text' }, { vni: 'number' });
        return open().fdb.get(dev, mac, vni);
      },
      flush(filter) {
        checkShape('fdb flush', filter, { dev: 'text' }, FDB_FLUSH);
        return open().fdb.flush(filter);
      },
    },
    vnis: {
      apply(request) {
        checkShape('vni', request, { op: 'text', dev: 'text', vni: 'ranges' }, VNI);
        open().vnis.apply(request);
      },
      show: (dev) => open().vnis.show(named('vni show', dev)),
    },
    mdb: {
      apply(request) {
        checkShape('mdb', request, { op: 'text', dev: 'text', grp: 'text', dst: 'text' }, MDB);
        open().mdb.apply(request);
      },
      show: (dev) => open().mdb.show(named('mdb show', dev)),
      flush(filter) {
        checkShape('mdb flush', filter, { dev: 'text' }, MDB_FLUSH);
        return open().mdb.flush(filter);
      },
    },
    peers: {
      apply(request) {
        const isSet = (request as { op?: unknown } | undefined)?.op !== 'del';
        const key: Shape = { op: 'text', dev: 'text', mac: 'text' };
        checkShape(
          'peer',
          request,
          isSet ? { ...key, src: 'text' } : key,
          isSet ? { prefixes: 'texts' } : {},
        );
        open().peers.apply(request);
      },
      show: (dev) => open().peers.show(named('peer show', dev)),
    },
  };
}

function named(what: string, dev: string | undefined): string | undefined {
  if (dev !== undefined) check(`${what}: dev`, 'text', dev);
  return dev;
}
