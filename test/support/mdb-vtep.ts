/** A stand-in VTEP with a real MDB, so that words, control API and database are tested as one. */
import type { MdbEntry, MdbFlush, MdbRequest } from '../../src/types.ts';
import { FakeVtep } from './fake-vtep.ts';
import type { MdbFixture } from './mdb-fixture.ts';

export class MdbVtep extends FakeVtep {
  readonly #fixture: MdbFixture;

  constructor(fixture: MdbFixture) {
    super();
    this.#fixture = fixture;
  }

  override mdb(request: MdbRequest): void {
    this.#fixture.mdb.apply(request);
  }

  override mdbShow(dev?: string): MdbEntry[] {
    return this.#fixture.mdb.show(dev);
  }

  override mdbGet(dev: string, grp: string, src?: string, src_vni?: number): MdbEntry[] {
    return this.#fixture.mdb.get(dev, grp, src, src_vni);
  }

  override mdbFlush(filter: MdbFlush): number {
    return this.#fixture.mdb.flush(filter);
  }
}
