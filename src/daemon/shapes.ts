/**
 * The pieces that every schema is made of: one value read by the same reader as the word on the command line,
 * mappings that know all their keys, and the first complaint with the place it is about.
 */
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import { isUnsupported } from './unsupported.ts';
import type { Reader } from './values.ts';

export function word<T>(read: Reader<T>) {
  return v.pipe(
    v.union([v.string(), v.number()], 'a text or a number is expected'),
    v.rawTransform<string | number, T>(({ dataset, addIssue, NEVER }) => {
      try {
        return read(dataset.value);
      } catch (error) {
        if (!(error instanceof VtepError)) throw error;
        addIssue({ message: error.message });
        return NEVER;
      }
    }),
  );
}

export const maybe = <T>(read: Reader<T>) => v.exactOptional(word(read));
export const flag = v.exactOptional(v.boolean('true or false is expected'));

const mapping = v.custom<Record<string, unknown>>(
  (input) => typeof input === 'object' && input !== null && !Array.isArray(input),
  'a mapping of keys to values is expected',
);

/** Mappings without unknown keys; the message says what is missing or unknown. */
export function strict<const Entries extends v.ObjectEntries>(entries: Entries) {
  const object = v.strictObject(entries, ({ expected }) =>
    expected === 'never' ? `unknown key: ${Object.keys(entries).join(', ')} are known` : 'missing',
  );
  return v.pipe(mapping, object);
}

export type Path = (string | number)[];

/** A step of a path for a complaint that no schema made by itself. */
export function step(input: unknown, key: string | number): v.IssuePathItem {
  return { type: 'unknown', origin: 'value', input, key, value: undefined };
}

/** The first complaint, with the place it is about. */
export function complaint(issues: readonly v.BaseIssue<unknown>[]): { path: Path; error: VtepError } {
  const issue = issues[0]!;
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const key = path.map((step, depth) => (typeof step === 'number' ? `[${step}]` : depth ? `.${step}` : step));
  const code = isUnsupported(String(path.at(-1))) ? 'UNSUPPORTED' : 'USAGE';
  return { path, error: new VtepError(code, `${path.length ? `${key.join('')}: ` : ''}${issue.message}`) };
}

/** @throws VtepError naming the key that is wrong (`devices[1].id: invalid id: ...`) */
export function parse<Schema extends v.GenericSchema>(schema: Schema, input: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, input, { abortEarly: true });
  if (!result.success) throw complaint(result.issues).error;
  return result.output;
}
