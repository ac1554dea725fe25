/** What is said when no TAP is to be had. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bed, REPOSITORY } from './support/netns.ts';
import { suite } from './support/traffic-gate.ts';

const OPEN = `import { openTap } from '${REPOSITORY}/dist/src/io/tap.js';
try { openTap('vx0', 1, { uso: false }); } catch (error) { console.log(error.code, error.message); }`;

suite('a TAP', ['vxlane'], (bed: Bed) => {
  /** `ip netns exec` has mounts of its own: this is seen by nobody else. */
  const withoutTun = (...more: string[]) =>
    bed
      .namespace('tap')
      .run(
        'sh',
        '-ec',
        [
          'mount -t tmpfs tmpfs /dev/net',
          ...more.slice(0, -1),
          `exec ${more.at(-1) ?? ''} "$0" --input-type=module -e "$1"`,
        ].join('\n'),
        process.execPath,
        OPEN,
      );

  test('without the device file: what makes it', () => {
    assert.equal(
      withoutTun(),
      'SYSTEM link vx0: /dev/net/tun: ENOENT: load the module (modprobe tun), or give the container the device\n',
    );
  });

  test('without the right to open it: who has it', () => {
    assert.equal(
      withoutTun('touch /dev/net/tun', 'chmod 000 /dev/net/tun', 'setpriv --bounding-set=-all'),
      'PERMISSION link vx0: /dev/net/tun: EACCES: permission is missing: run as root, or in a user namespace (unshare -Urn)\n',
    );
  });
});
