/** Makes a program ready to be called by the thread that will call it. */
import { fileURLToPath } from 'node:url';
import {
  HOOK_AREA_BYTES,
  HOOK_AREA_COUNT,
  HOOK_AREAS_OFFSET,
  HOOK_WINDOW_DECAP_OFFSET,
  HOOK_WINDOW_ENCAP_OFFSET,
  HOOK_WINDOW_END_OFFSET,
} from '../../assembly/layout.ts';
import { HookScript } from '../dataplane/hook-batch.ts';
import { HookProgram } from '../dataplane/hook-program.ts';
import type { HookFunction } from '../dataplane/hook-types.ts';
import { VtepError } from '../errors.ts';
import type { HookDirection } from '../types.ts';
import type { HookCode, Program, Seat } from './hook-messages.ts';
import type { WorkerContext } from './worker-context.ts';

/** What a module in JavaScript exports. */
interface HookModule {
  default: HookFunction;
  configure(rules: Uint8Array): void | Promise<void>;
}

export interface Loaded {
  readonly kind: HookCode['kind'];
  readonly seat: Seat;
  readonly generation: number;
  /** Of a module in WebAssembly, of its block; -1 = it has none. */
  readonly area: number;
  /** Returns why it failed, undefined = it didn't. @param records address of the first */
  run(records: number, count: number): string | undefined;
  close(): void;
}

const WINDOWS: Record<HookDirection, number> = {
  encap: HOOK_WINDOW_ENCAP_OFFSET,
  decap: HOOK_WINDOW_DECAP_OFFSET,
};

/**
 * A promise only where there is something to wait for: a module to import.
 * @param areas of the block, numbers of those in use
 * @throws VtepError, or whatever the module throws
 */
export function loadProgram(
  program: Program,
  context: WorkerContext,
  areas: Set<number>,
): Loaded | Promise<Loaded> {
  const { code } = program;
  return code.kind === 'wasm'
    ? loadModule(program, code, context, areas)
    : loadScript(program, code.url, context);
}

function loadModule(
  { generation, device, direction, rules }: Program,
  { compiled, fuel }: Extract<HookCode, { kind: 'wasm' }>,
  { base, memory }: WorkerContext,
  areas: Set<number>,
): Loaded {
  const area = Array.from({ length: HOOK_AREA_COUNT }, (_, number) => number).find(
    (number) => !areas.has(number),
  );
  if (area === undefined)
    throw new VtepError(
      'NO_SPACE',
      `all ${HOOK_AREA_COUNT} areas of a thread are in use: delete another hook`,
    );
  areas.add(area);
  const close = () => void areas.delete(area);
  try {
    const instance = new HookProgram(compiled, memory, {
      area: base + HOOK_AREAS_OFFSET + area * HOOK_AREA_BYTES,
      low: base + WINDOWS[direction],
      high: base + HOOK_WINDOW_END_OFFSET,
      fuel,
    });
    if (rules !== undefined) instance.configure(rules);
    return {
      ...{ kind: 'wasm', generation, seat: { device, direction }, area, close },
      run: (records, count) => instance.run(records, count)?.message,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** A module's default export is the program; `configure`, where it has one, gets the rules. */
async function loadScript(
  { generation, device, direction, rules }: Program,
  url: string,
  context: WorkerContext,
): Promise<Loaded> {
  const { default: program, configure } = (await import(url)) as Partial<HookModule>;
  if (typeof program !== 'function')
    throw new VtepError('USAGE', `${fileURLToPath(url)}: its default export must be a function of a batch`);
  if (rules !== undefined) {
    if (typeof configure !== 'function')
      throw new VtepError('USAGE', `${fileURLToPath(url)}: it takes no rules: export "configure" from it`);
    await configure(rules);
  }
  const script = new HookScript(program, context, direction);
  return {
    ...{ kind: 'js', generation, seat: { device, direction }, area: -1, close() {} },
    run: (records, count) => script.run(records, count)?.message,
  };
}
