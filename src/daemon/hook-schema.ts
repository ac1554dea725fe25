/**
 * Requests for hooks as they come in from outside. A program in WebAssembly comes as its bytes, in base64, so that the
 * daemon opens no file for anybody; one in JavaScript as the path of a module, which must be the daemon's own
 * (hook-files.ts).
 */
import { isAbsolute } from 'node:path';
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { HookRequest, OnStop } from '../types.ts';
import { checkModule, HOOK_BYTES_MAX, RULES_BYTES_MAX, readHook, readRules, tooLarge } from './hook-files.ts';
import { maybe, parse, strict, word } from './shapes.ts';
import * as values from './values.ts';

export const FUEL_MAX = 1_000_000;
const PATH_MAX = 4096;

/** The body of `POST /v1/hook`. */
export interface HookMessage {
  op: 'add' | 'replace' | 'del';
  dev: string;
  direction: 'encap' | 'decap';
  /** Not for `del`. */
  file?: string;
  /** Base64. */
  wasm?: string;
  rules?: string;
  fuel?: number;
  onstop?: OnStop;
}

export const fuel = values.within(1, FUEL_MAX, `invalid fuel: 1 to ${FUEL_MAX} loops and calls a packet`);

export const direction = v.picklist(['encap', 'decap'], 'encap or decap is expected');

/** Bytes as a program hands them in, or base64. */
function bytes(limit: number, isText: boolean) {
  const text = v.pipe(
    v.string('base64 is expected'),
    v.base64('base64 is expected'),
    v.transform((given) => new Uint8Array(Buffer.from(given, 'base64'))),
  );
  const given = v.instance(Uint8Array, 'a Uint8Array is expected');
  return v.exactOptional(
    v.pipe(
      isText ? text : given,
      v.check((found) => found.length <= limit, tooLarge(limit)),
    ),
  );
}

/** It stands in answers, events and the log, each of them one line. */
const path = v.pipe(
  v.string('a path is expected'),
  v.nonEmpty('a path is expected'),
  v.maxLength(PATH_MAX, `a path of ${PATH_MAX} characters at most is expected`),
  v.regex(/^\P{Cc}*$/u, 'a path without control characters is expected'),
);

/** Of a hook in the configuration file. */
export const hookEntries = {
  direction,
  file: path,
  rules: v.exactOptional(path),
  fuel: maybe(fuel),
  onstop: maybe(values.onstop),
};

export type HookSetup = v.InferOutput<v.StrictObjectSchema<typeof hookEntries, undefined>>;

const schemaOf = (isText: boolean) =>
  v.pipe(
    v.unknown(),
    strict({
      op: v.picklist(['add', 'replace', 'del'], 'add, replace or del is expected'),
      dev: word(values.deviceName),
      direction,
      file: v.exactOptional(path),
      wasm: bytes(HOOK_BYTES_MAX, isText),
      rules: bytes(RULES_BYTES_MAX, isText),
      fuel: maybe(fuel),
      onstop: maybe(values.onstop),
    }),
  );
const messageSchema = schemaOf(true);
const callSchema = schemaOf(false);

/** @throws VtepError USAGE, and PERMISSION for a module that is not the daemon's own */
export function parseHook(input: unknown): HookRequest {
  const request = read(messageSchema, input);
  return request.op === 'del' ? request : checked(request);
}

/** What a program asks its own VTEP for: what it could import itself is not looked at. @throws VtepError USAGE */
export function readHookCall(input: unknown): HookRequest {
  return read(callSchema, input);
}

function read(schema: typeof messageSchema | typeof callSchema, input: unknown): HookRequest {
  const { op, dev, direction, file, ...program } = parse(schema, input);
  if (op === 'del') return { op, dev, direction };
  if (file === undefined) throw new VtepError('USAGE', 'file: missing: what the program is called');
  const request = { op, dev, direction, file, ...program } as Program;
  if (request.wasm !== undefined) return request;
  if (request.fuel !== undefined)
    throw new VtepError('USAGE', 'fuel: a program in JavaScript has none: it is stopped by the clock');
  if (!isAbsolute(file)) throw new VtepError('USAGE', `file: ${file}: an absolute path is expected`);
  return request;
}

/** What the configuration file says of a device: the files are read now. @throws VtepError, as parseHook, and NOT_FOUND */
export function hookOf(dev: string, { direction, file, rules, ...settings }: HookSetup): HookRequest {
  return checked({
    ...{ op: 'add', dev, direction, ...readHook(file) },
    ...(rules !== undefined && { rules: readRules(rules) }),
    ...settings,
  });
}

type Program = Exclude<HookRequest, { op: 'del' }>;

function checked(request: Program): Program {
  if (request.wasm !== undefined) return request;
  if (request.fuel !== undefined)
    throw new VtepError('USAGE', 'fuel: a program in JavaScript has none: it is stopped by the clock');
  return { ...request, file: checkModule(request.file) };
}
