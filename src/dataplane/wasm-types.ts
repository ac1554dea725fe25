/**
 * Names of the web that Node's own types leave out: with the types of the web they are themselves, so that a program is
 * checked; without them, what they are by their shape.
 */

/** `WebAssembly.Module` */
export type EngineModule = typeof globalThis extends { WebAssembly: { Module: { prototype: infer Module } } }
  ? Module
  : object;

/** `WebAssembly.Memory` */
export type EngineMemory = typeof globalThis extends { WebAssembly: { Memory: { prototype: infer Memory } } }
  ? Memory
  : { readonly buffer: ArrayBufferLike };

/** `BufferSource` */
export type EngineBytes = ArrayBuffer | ArrayBufferView<ArrayBuffer>;
