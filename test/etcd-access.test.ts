/** Who may speak to etcd: TLS with an authority alone, with a certificate, with the wrong one; users and passwords. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { createEtcdSource, type EtcdSourceOptions } from '../src/flannel/etcd.ts';
import { missingForEtcd, TestEtcd } from './support/etcd.ts';
import { begin, flannelValue, Members, member, PREFIX, SUBNETS } from './support/etcd-world.ts';
import { until } from './support/own-namespace.ts';

const missing = missingForEtcd();
const skip = missing !== null && !process.env.CI ? missing : false;
const soon = () => AbortSignal.timeout(15_000);

/** What a source says that gets no answer. */
async function refusal(members: Members, options: EtcdSourceOptions): Promise<string> {
  const source = members.source(options);
  const waiting = assert.rejects(source.config(members.signal));
  await until('told', () => source.state().error !== undefined, 10_000);
  const { error, connected } = source.state();
  assert.ok(!connected);
  void waiting;
  return error!;
}

describe('TLS to etcd', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'vxl-tls-'));
  const file = (name: string) => join(directory, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
  const server = ['--cert-file', file('server.crt'), '--key-file', file('server.key')];
  const client = { ca: file('ca.crt'), cert: file('client.crt'), key: file('client.key') };
  const ctl = ['--cacert', client.ca, '--cert', client.cert, '--key', client.key];
  let etcd: TestEtcd;
  let members: Members;

  before(async () => {
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    for (const ca of ['ca', 'other'])
      openssl(
        'req',
        '-x509',
        ...ec,
        '-keyout',
        `${ca}.key`,
        '-out',
        `${ca}.crt`,
        '-days',
        '2',
        '-subj',
        `/CN=${ca}`,
      );
    for (const [name, extra] of [
      ['server', 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth'],
      ['client', 'extendedKeyUsage=clientAuth'],
    ] as const) {
      openssl('req', ...ec, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
      writeFileSync(file(`${name}.ext`), extra);
      const signed = [
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '2',
        '-extfile',
        `${name}.ext`,
      ];
      openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...signed);
    }
    etcd = await TestEtcd.start({ scheme: 'https', flags: server, ctl });
    await begin(etcd);
    members = new Members(etcd);
  });
  after(async () => {
    await members?.end();
    await etcd?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('takes an authority alone', async () => {
    const source = members.source({ tls: { ca: client.ca } });
    assert.equal((await source.config(soon())).network, '10.244.0.0/16');
    const heard = members.follow(source);
    await etcd.ctl('put', `${SUBNETS}/10.244.1.0-24`, flannelValue(1));
    await heard.until('a member', () => heard.members.size === 1);
  });

  it('takes an endpoint without a scheme for https where there are certificates', async () => {
    const source = members.source({ endpoints: [`127.0.0.1:${etcd.port}`], tls: { ca: client.ca } });
    assert.equal(source.state().where, etcd.endpoint);
    await source.config(soon());
  });

  it('names the remedy for the wrong authority, none, and http where https is needed', async () => {
    assert.match(
      await refusal(members, { tls: { ca: file('other.crt') } }),
      /certificate.*: give the CA .*--etcd-cafile/,
    );
    assert.match(await refusal(members, {}), /certificate.*: give the CA .*--etcd-cafile/);
    assert.match(
      await refusal(members, { endpoints: [etcd.endpoint.replace('https', 'http')] }),
      /http or https as the endpoint says/,
    );
  });

  it('refuses files that can not be right', () => {
    const create = (tls: { ca?: string; cert?: string; key?: string }) => () => createEtcdSource({ tls });
    assert.throws(create({ cert: client.cert }), {
      code: 'USAGE',
      message: /certificate and its key go together/,
    });
    assert.throws(create({ ca: file('none') }), { code: 'USAGE', message: /ca file: ENOENT.*none/ });
    for (const endpoint of ['', 'ftp://a', 'http://', 'http://a b'])
      assert.throws(() => createEtcdSource({ endpoints: [endpoint] }), {
        code: 'USAGE',
        message: /endpoint/,
      });
    assert.throws(() => createEtcdSource({ endpoints: [] }), { code: 'USAGE', message: /no endpoint/ });
  });

  it('shows no password that stands in an endpoint', () => {
    const source = createEtcdSource({
      endpoints: ['http://user:secret@127.0.0.1:1', 'https://[::1]', 'h:80'],
    });
    assert.equal(source.state().where, 'http://127.0.0.1:1, https://[::1]:2379, http://h:80');
  });

  describe('with certificates of clients asked for', () => {
    let strict: TestEtcd;
    before(async () => {
      const flags = [...server, '--client-cert-auth', '--trusted-ca-file', client.ca];
      strict = await TestEtcd.start({ scheme: 'https', flags, ctl });
      await begin(strict);
    });
    after(() => strict?.close());

    it('takes certificate and key, and says when they are missing', async () => {
      const source = members.source({ endpoints: [strict.endpoint], tls: client });
      const lease = await source.acquire(member(1), {}, soon());
      assert.match(await strict.ctl('get', lease.key), /192\.0\.2\.1/);
      assert.match(
        await refusal(members, { endpoints: [strict.endpoint], tls: { ca: client.ca } }),
        /: give --etcd-certfile and --etcd-keyfile/,
      );
    });

    it('is the user that the certificate names', async () => {
      await users(strict, ['client']);
      try {
        const source = members.source({ endpoints: [strict.endpoint], tls: client });
        await source.acquire(member(2), {}, soon());
      } finally {
        await strict.ctl('--user', 'root:top', 'auth', 'disable');
      }
    });
  });
});

/** Root, and users with all rights under the prefix; then nobody else gets in. */
async function users(etcd: TestEtcd, names: readonly string[]): Promise<void> {
  await etcd.ctl('user', 'add', 'root:top');
  await etcd.ctl('user', 'grant-role', 'root', 'root');
  await etcd.ctl('role', 'add', 'flannel');
  await etcd.ctl('role', 'grant-permission', 'flannel', '--prefix=true', 'readwrite', `${PREFIX}/`);
  for (const name of names) {
    await etcd.ctl('user', 'add', `${name}:secret`);
    await etcd.ctl('user', 'grant-role', name, 'flannel');
  }
  await etcd.ctl('auth', 'enable');
}

describe('users of etcd', { skip }, () => {
  let etcd: TestEtcd;
  let members: Members;
  before(async () => {
    // Tokens that run out while a test looks on.
    etcd = await TestEtcd.start({ flags: ['--auth-token-ttl', '1'] });
  });
  after(() => etcd?.close());
  afterEach(async () => {
    await members?.end();
  });
  const root = ['--user', 'root:top'];

  it('needs none where none is asked for', async () => {
    await begin(etcd);
    members = new Members(etcd);
    await members.source({ username: 'flannel', password: 'secret' }).config(soon());
  });

  it('lets in who has the password, also when its token has run out', async () => {
    await users(etcd, ['flannel']);
    members = new Members(etcd);
    const source = members.source({ username: 'flannel', password: 'secret' });
    await source.config(soon());
    const heard = members.follow(source);
    const lease = await source.acquire(member(1), {}, soon());
    await new Promise((resolve) => setTimeout(resolve, 2500));
    source.publish({ ...member(1), publicIp: '192.0.2.9' });
    await until('published', () => source.state().counters.published === 1, 10_000);
    assert.match(await etcd.ctl(...root, 'get', lease.key), /192\.0\.2\.9/);
    await etcd.ctl(...root, 'put', `${SUBNETS}/10.244.200.0-24`, flannelValue(2));
    await heard.until('a member', () => heard.members.size === 1);
    assert.equal(source.state().error, undefined);
  });

  it('says what is wrong: no user, a wrong password, no right', async () => {
    members = new Members(etcd);
    assert.match(await refusal(members, {}), /user name is empty: give --etcd-username and --etcd-password/);
    const lines = members.lines.length;
    const wrong = { username: 'flannel', password: 'wrong' };
    assert.match(
      await refusal(members, wrong),
      /authentication failed, .*: check --etcd-username and --etcd-password/,
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(members.lines.length, lines + 1, 'said once');
    assert.ok(
      !members.lines.some((line) => /wrong/.test(line.replace(/is wrong/, ''))),
      'no password in the log',
    );
    await etcd.ctl(...root, 'user', 'add', 'guest:secret');
    assert.match(
      await refusal(members, { username: 'guest', password: 'secret' }),
      /permission denied: grant the user's role readwrite on the prefix \/coreos.com\/network\//,
    );
  });

  it('gets in as soon as the password is right', async () => {
    members = new Members(etcd);
    const source = members.source({ username: 'late', password: 'secret' });
    const config = source.config(soon());
    await until('told', () => source.state().error !== undefined, 10_000);
    await etcd.ctl(...root, 'user', 'add', 'late:secret');
    await etcd.ctl(...root, 'user', 'grant-role', 'late', 'flannel');
    await config;
    assert.ok(source.state().connected);
  });

  it('reads on with a right to read only, and says that it can not publish', async () => {
    members = new Members(etcd);
    await etcd.ctl(...root, 'role', 'add', 'reader');
    await etcd.ctl(...root, 'role', 'grant-permission', 'reader', '--prefix=true', 'read', `${PREFIX}/`);
    await etcd.ctl(...root, 'user', 'add', 'reader:secret');
    await etcd.ctl(...root, 'user', 'grant-role', 'reader', 'reader');
    const source = members.source({ username: 'reader', password: 'secret' });
    const heard = members.follow(source);
    await heard.until('the members', () => heard.snapshots === 1 && source.state().connected);
    const waiting = assert.rejects(source.acquire(member(50), {}, members.signal));
    await until('told', () => /permission denied/.test(source.state().error ?? ''), 10_000);
    assert.ok(source.state().connected, 'it is heard');
    void waiting;
  });
});
