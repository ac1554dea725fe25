/** The files for use fit the program: flags, ports, paths and names that they name are those that there are. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { parseNetConfig } from '../src/flannel/net-config.ts';
import { REPOSITORY } from './support/netns.ts';

const read = (path: string) => readFileSync(join(REPOSITORY, path), 'utf8');
const { version } = JSON.parse(read('package.json'));
const HELP = execFileSync(process.execPath, [join(REPOSITORY, 'dist/src/cli/main.js'), 'flannel', '--help'], {
  encoding: 'utf8',
});
/** Behind "Flags of ...": `--name` or `--name VALUE`. */
const FLAGS = new Set(
  [...HELP.slice(HELP.indexOf('\nFlags of flanneld')).matchAll(/^ {2}--([a-z0-9-]+)/gm)].map(
    ([, name]) => name!,
  ),
);

// biome-ignore lint/suspicious/noExplicitAny: Kubernetes' objects
type Json = any;

describe('the Kubernetes manifest', () => {
  const documents = parseAllDocuments(read('deploy/kubernetes/vxlane-flannel.yaml'));
  const objects: Json[] = documents.map((document) => document.toJS());
  const find = (kind: string) => objects.find((one) => one.kind === kind);
  const pod = find('DaemonSet').spec.template.spec;
  const [node, rules] = pod.containers;

  test('is made of the kinds of objects that flannel’s is', () => {
    for (const { errors, warnings } of documents) assert.deepEqual([...errors, ...warnings], []);
    assert.deepEqual(
      objects.map(({ kind, apiVersion }) => `${apiVersion} ${kind}`),
      [
        'v1 Namespace',
        'v1 ServiceAccount',
        'rbac.authorization.k8s.io/v1 ClusterRole',
        'rbac.authorization.k8s.io/v1 ClusterRoleBinding',
        'v1 ConfigMap',
        'apps/v1 DaemonSet',
      ],
    );
  });

  test('asks for flannel’s rights and no others', () => {
    assert.deepEqual(
      find('ClusterRole').rules.map(({ resources, verbs }: Json) => `${resources}: ${verbs}`),
      ['pods: get', 'nodes: get,list,watch', 'nodes/status: patch'],
    );
    const [subject] = find('ClusterRoleBinding').subjects;
    const { name, namespace } = find('ServiceAccount').metadata;
    assert.deepEqual(subject, { kind: 'ServiceAccount', name, namespace });
    assert.equal(find('ClusterRoleBinding').roleRef.name, find('ClusterRole').metadata.name);
    assert.equal(pod.serviceAccountName, name);
    for (const { metadata } of [find('ServiceAccount'), find('ConfigMap'), find('DaemonSet')]) {
      assert.equal(metadata.namespace, find('Namespace').metadata.name);
    }
  });

  test('has a network configuration that is accepted, and a CNI configuration for flannel’s plugin', () => {
    const { data } = find('ConfigMap');
    const config = parseNetConfig(data['net-conf.json'], { where: 'net-conf.json' });
    assert.equal(config.backend.type, 'vxlan');
    assert.equal(config.network, '10.244.0.0/16');
    const { plugins } = JSON.parse(data['cni-conf.json']);
    assert.equal(plugins[0].type, 'flannel');
  });

  test('starts vxlane with flags that it has, and probes the port that it is told', () => {
    const [word, ...flags] = node.args;
    assert.equal(word, 'flannel');
    for (const flag of flags) {
      const name = /^--([a-z-]+)(=|$)/.exec(flag)?.[1];
      assert.ok(name !== undefined && FLAGS.has(name), `${flag} is no flag`);
    }
    const port = Number(flags.find((flag: string) => flag.startsWith('--healthz-port='))?.split('=')[1]);
    const [declared] = node.ports;
    assert.deepEqual([declared.containerPort, declared.hostPort], [port, port]);
    for (const [probe, path] of [
      [node.livenessProbe, '/healthz'],
      [node.readinessProbe, '/readyz'],
    ]) {
      assert.deepEqual(probe.httpGet, { path, port: declared.name });
    }
    const path = flags.find((flag: string) => flag.startsWith('--net-config-path='))?.split('=')[1];
    const mount = node.volumeMounts.find(({ name }: Json) => name === 'flannel-cfg');
    assert.equal(path, `${mount.mountPath}net-conf.json`);
  });

  test('mounts what it has, and runs on the host’s network without being privileged', () => {
    const volumes = new Set(pod.volumes.map(({ name }: Json) => name));
    const containers = [...pod.initContainers, ...pod.containers];
    const mounted = new Set(
      containers.flatMap(({ volumeMounts }) => volumeMounts.map(({ name }: Json) => name)),
    );
    assert.deepEqual([...mounted].sort(), [...volumes].sort());
    assert.equal(pod.hostNetwork, true);
    for (const { securityContext } of [node, rules]) {
      assert.equal(securityContext.privileged, false);
      assert.deepEqual(securityContext.capabilities, { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] });
    }
    const ours = containers.map(({ image }) => image).filter((image) => image.startsWith('vxlane'));
    assert.deepEqual(ours, [`vxlane:${version}`, `vxlane:${version}`, `vxlane:${version}`]);
  });
});

describe('the systemd units', () => {
  test('start programs that are installed, with variables that are flags', () => {
    const names = readdirSync(join(REPOSITORY, 'deploy/systemd'));
    const units = names.filter((name) => name.endsWith('.service'));
    const [node] = units.filter((name) => name.startsWith('vxlane-flannel'));
    assert.match(read(`deploy/systemd/${node}`), /^ExecStart=\/usr\/local\/bin\/vxlane flannel$/m);
    for (const [, name] of read('deploy/systemd/flannel.env').matchAll(/^#?FLANNELD_([A-Z_]+)=/gm)) {
      const flag = name!.toLowerCase().replaceAll('_', '-');
      assert.ok(FLAGS.has(flag), `FLANNELD_${name} is no flag`);
    }
  });
});

describe('the Dockerfile', () => {
  test('copies files that there are', () => {
    const text = read('Dockerfile');
    const scripts = [...text.matchAll(/\b(deploy\/\S+)/g)].map(([, path]) => path!);
    assert.deepEqual(
      scripts.filter((path) => !existsSync(join(REPOSITORY, path))),
      [],
    );
    const ignored = read('.dockerignore').split('\n');
    for (const path of ['src', 'assembly', 'deploy', 'package-lock.json', 'LICENSE']) {
      assert.ok(!ignored.includes(path) && existsSync(join(REPOSITORY, path)), path);
    }
  });
});

describe('docs/flannel.md', () => {
  test('has every flag, and no other', () => {
    const table = /\n\| flag +\|[\s\S]*?\n\n/.exec(read('docs/flannel.md'))![0];
    const named = [...table.matchAll(/`--([a-z0-9-]+)`/g)].map(([, name]) => name!);
    assert.deepEqual([...new Set(named)].sort(), [...FLAGS].sort());
  });
});
