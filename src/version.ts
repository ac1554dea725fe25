/** The version of this package, from the package.json nearest above, wherever the build has put us. */
import { existsSync, readFileSync } from 'node:fs';

export function version(): string {
  for (let at = new URL('.', import.meta.url); ; at = new URL('..', at)) {
    const file = new URL('package.json', at);
    if (existsSync(file))
      return String((JSON.parse(readFileSync(file, 'utf8')) as { version?: unknown }).version);
    if (at.pathname === '/') return 'unknown';
  }
}
