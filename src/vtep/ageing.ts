/** When the entries of each device are looked through for those that are too old. */
import type { Fdb } from '../dataplane/fdb.ts';
import type { Device } from './device.ts';

/** From when a device goes up until it is looked at first, however short its ageing time is. */
const FIRST_SECONDS = 10;

export class Ageing {
  readonly #fdb: Fdb;
  /** Of devices that are up, as the dataplane's clock counts seconds. */
  readonly #due = new Map<Device, number>();

  constructor(fdb: Fdb) {
    this.#fdb = fdb;
  }

  /** The device's ageing time is another one: it is looked at with the next tick. */
  changed(device: Device): void {
    this.#due.set(device, 0);
  }

  /** @param now as `plane.tick` counts; @param devices those that there are, by name */
  tick(now: number, devices: ReadonlyMap<string, Device>): void {
    for (const device of this.#due.keys()) {
      if (!device.up || devices.get(device.config.name) !== device) this.#due.delete(device);
    }
    for (const device of devices.values()) {
      if (!device.up) continue;
      const due = this.#due.get(device) ?? now + FIRST_SECONDS;
      const next = now < due ? due : now + Math.max(1, this.#fdb.age(device.index).next);
      this.#due.set(device, next);
    }
  }
}
