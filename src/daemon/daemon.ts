/**
 * Composition root: control socket, VTEP, devices, flannel networks, in this order, and back again in the opposite one. The
 * socket comes first, so that a second daemon is refused before it touches a device; requests that arrive
 * during the set-up wait for its end. A set-up that fails halfway leaves nothing behind.
 */
import { createServer } from 'node:http';
import { VtepError } from '../errors.ts';
import type { Flannel } from '../flannel/flannel.ts';
import type { DeviceRequest, Vtep } from '../types.ts';
import { AS_GIVEN, type Readers } from '../vtep/readers.ts';
import type { VtepOptions } from '../vtep/vtep.ts';
import { createApi, type Running } from './api.ts';
import type { Config, DeviceSetup } from './config.ts';
import { completeDevice } from './device-schema.ts';
import { DevicesFile } from './devices-file.ts';
import { hookOf } from './hook-schema.ts';
import { listenAt } from './socket.ts';

/** A request must be complete within this time, so that half of one holds nothing for ever. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Answers under way get this long at the end. */
const FAREWELL_MS = 200;

export type CreateVtep = (options: VtepOptions, readers: Readers) => Promise<Vtep>;
/** Requests have been looked at when they come to the VTEP: the API's, the configuration's; flannel's leave defaults out. */
const READERS: Readers = {
  ...AS_GIVEN,
  device: (input: unknown) => completeDevice(input as DeviceRequest),
};

export type Logger = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface DaemonOptions {
  config: Config;
  /** Path of the control socket. */
  socket: string;
  createVtep: CreateVtep;
  logger?: Logger;
}

export interface Daemon {
  readonly vtep: Vtep;
  /** Absent: this is no flannel node. */
  readonly flannel?: Flannel;
  readonly socket: string;
  /** Takes every device down, removes the socket. Safe to call twice. */
  close(): Promise<void>;
}

export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { config, socket, createVtep, logger = () => {} } = options;
  let arrive: (running: Running) => void = () => {};
  const ready = new Promise<Running>((resolve) => {
    arrive = resolve;
  });
  const file = new DevicesFile(socket);
  const listDevices = () => {
    if (vtep === undefined) return;
    try {
      file.write(vtep.devices().map(({ config }) => config.name));
    } catch (error) {
      logger('warn', `list of devices: ${(error as Error).message}`);
    }
  };
  let vtep: Vtep | undefined;
  let flannel: Flannel | undefined;
  const api = createApi(ready, (message) => logger('error', message), listDevices);
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, connectionsCheckingInterval: 1000 },
    api.handle,
  );
  const stopListening = await listenAt(server, socket);

  async function stopServing(): Promise<void> {
    const stopped = stopListening();
    server.closeIdleConnections();
    const cut = setTimeout(() => server.closeAllConnections(), FAREWELL_MS);
    await stopped;
    clearTimeout(cut);
  }

  try {
    const tuning: VtepOptions = {
      logger,
      ...(config.queues === undefined ? {} : { queues: config.queues }),
      ...(config.threads === undefined ? {} : { threads: config.threads }),
      ...(config.spin === undefined ? {} : { spin: config.spin }),
      ...(config.engine === undefined ? {} : { engine: config.engine }),
      ...(config.offloads === undefined ? {} : { offloads: config.offloads }),
    };
    vtep = await createVtep(tuning, READERS);
    await setUp(vtep, config.devices);
    if (config.flannel !== undefined) {
      const { startFlannel } = await import('../flannel/flannel.ts');
      flannel = await startFlannel(config.flannel, vtep, logger, config.health);
    }
  } catch (error) {
    server.closeAllConnections();
    await Promise.allSettled([stopServing(), flannel?.close()]);
    await vtep?.close().catch(() => undefined);
    throw error;
  }
  const running = vtep;
  listDevices();
  const unsubscribe = running.subscribe((event) => {
    if (event.event === 'link') listDevices();
  });
  arrive({ vtep: running, ...(flannel === undefined ? {} : { flannel }) });

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    const serving = stopServing();
    await api.close();
    await serving;
    unsubscribe();
    file.remove();
    await flannel?.close();
    await running.close();
  }
  return {
    vtep: running,
    ...(flannel === undefined ? {} : { flannel }),
    socket,
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** All devices or none. Entries and hooks come before `up`: no frame finds a half-filled table, none slips by. */
async function setUp(vtep: Vtep, setups: readonly DeviceSetup[]): Promise<void> {
  const added: string[] = [];
  for (const { device, up, vnis, fdb, mdb, peers, hooks } of setups) {
    try {
      await vtep.addDevice({ ...device });
      added.push(device.name);
      for (const request of vnis) vtep.vni({ ...request });
      for (const request of fdb) vtep.fdb({ ...request });
      for (const request of mdb) vtep.mdb({ ...request });
      for (const request of peers) vtep.peer({ ...request });
      for (const entry of hooks) await vtep.hook(hookOf(device.name, entry));
      if (up) await vtep.setDevice(device.name, { up: true });
    } catch (error) {
      for (const name of added.reverse()) await vtep.deleteDevice(name).catch(() => undefined);
      if (!(error instanceof VtepError)) throw error;
      throw new VtepError(error.code, `device ${device.name}: ${error.message}`);
    }
  }
}
