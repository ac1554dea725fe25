/** The package as it is published, and an empty project that installs it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { REPOSITORY } from './netns.ts';

const run = promisify(execFile);
const NPM_MS = 120_000;

export interface Packed {
  path: string;
  /** Bytes, packed and unpacked. */
  size: number;
  unpackedSize: number;
  files: { path: string; size: number; mode: number }[];
}

/** Packs what has been built. @param folder where the tarball goes */
export async function pack(folder: string): Promise<Packed> {
  const words = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const { stdout } = await run('npm', words, { cwd: REPOSITORY, timeout: NPM_MS, maxBuffer: 1 << 24 });
  const [packed] = JSON.parse(stdout) as (Packed & { filename: string })[];
  assert.ok(packed);
  return { ...packed, path: join(folder, packed.filename) };
}

/** A project of its own, without anything but the tarball. */
export async function install(folder: string, tarball: string, ...options: string[]): Promise<void> {
  await mkdir(folder);
  await writeFile(join(folder, 'package.json'), '{"name":"project","private":true,"type":"module"}');
  const words = ['install', '--no-audit', '--no-fund', '--prefer-offline', ...options, tarball];
  await run('npm', words, { cwd: folder, timeout: NPM_MS });
}
