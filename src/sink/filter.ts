export type Match = (bytes: Uint8Array, at: number, length: number, vni: number) => boolean;
export function compileFilter(_: string): Match {
  return () => true;
}
