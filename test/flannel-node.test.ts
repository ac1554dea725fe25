/**
 * A flannel node on leases from a file, beside the kernel's own vxlan device, which is programmed by hand as flanneld
 * does: traffic both ways, and what changes at run time.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  Bed,
  end,
  missingForKernelVxlan,
  missingForNamespaces,
  missingForTap,
  type Namespace,
  REPOSITORY,
} from './support/netns.ts';

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();
const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const OURS = { address: '192.0.2.1', subnet: '10.244.1.0' };
const KERNEL = { address: '192.0.2.2', subnet: '10.244.2.0', mac: '36:3c:de:36:68:58' };

describe('a flannel node', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let here: Namespace;
  let there: Namespace;
  let directory: string;

  before(() => {
    here = bed.namespace('ours');
    there = bed.namespace('kernel');
    directory = bed.directory();
    here.ip(`link add eth0 type veth peer name eth0 netns ${there.name}`);
    here.ip(`addr add ${OURS.address}/24 dev eth0`, 'link set eth0 up');
    there.ip(`addr add ${KERNEL.address}/24 dev eth0`, 'link set eth0 up');
    here.sysctl({ 'net.ipv4.ip_forward': 1 });
    // The kernel's node, as flanneld programs it.
    there.ip(
      `link add flannel.1 address ${KERNEL.mac} mtu 1450 type vxlan id 1 dev eth0 local ${KERNEL.address} dstport 8472 nolearning`,
      `addr add ${KERNEL.subnet}/32 dev flannel.1`,
      'link set flannel.1 up',
    );
  });
  after(() => bed.close());

  it('talks to the kernel’s', async () => {
    const file = join(directory, 'leases.yaml');
    writeFileSync(
      file,
      `config: { Network: 10.244.0.0/16, Backend: { Type: vxlan } }
subnet: ${OURS.subnet}/24
leases:
  - { name: kernel, publicIp: ${KERNEL.address}, subnet: ${KERNEL.subnet}/24, mac: ${KERNEL.mac} }
`,
    );
    const node = here.spawn(
      process.execPath,
      [
        PROGRAM, 'flannel', '--lease-file', file, '-iface', 'eth0',
        '--subnet-file', join(directory, 'subnet.env'),
        '--state-dir', directory, '--socket', join(directory, 'v.sock'),
      ],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    );
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const status = JSON.parse(here.run(process.execPath, PROGRAM, 'flannel', 'status', '-j', '--socket', join(directory, 'v.sock')));
    console.log(JSON.stringify(status, null, 1), readFileSync(join(directory, 'subnet.env'), 'utf8'));
    const [link] = here.ipJson('link', 'show', 'flannel.1');
    there.ip(
      `neigh replace ${OURS.subnet} lladdr ${link.address} dev flannel.1 nud permanent`,
      `route replace ${OURS.subnet}/24 via ${OURS.subnet} dev flannel.1 onlink`,
    );
    there.run('bridge', 'fdb', 'replace', link.address, 'dev', 'flannel.1', 'dst', OURS.address);
    console.log(here.run('ping', '-c', '2', '-i', '0.2', '-W', '1', KERNEL.subnet));
    console.log(there.run('ping', '-c', '2', '-i', '0.2', '-W', '1', OURS.subnet));
    await end(node);
  });
});
