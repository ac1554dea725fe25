/** What is known of a flannel network outlives the source that told it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { VtepError } from '../src/errors.ts';
import type {
  Lease,
  LeaseListener,
  LeaseSource,
  MemberRecord,
  NetConfig,
  Subnets,
} from '../src/flannel/lease.ts';
import { parseNetConfig } from '../src/flannel/net-config.ts';
import { RememberingSource } from '../src/flannel/remembering.ts';
import { Heard } from './support/lease-listener.ts';

const CONFIG = parseNetConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}', { where: 'here' });
const SELF: MemberRecord = {
  publicIp: '192.0.2.1',
  backendType: 'vxlan',
  backend: { vni: 1, mac: '02:00:00:00:00:01' },
};
const member = (n: number): Lease => ({
  key: `n${n}`,
  subnet: `10.244.${n}.0/24`,
  publicIp: `192.0.2.${n}`,
  backendType: 'vxlan',
  backend: { vni: 1, mac: `02:00:00:00:00:0${n}` },
});

/** A source that answers when it is told to. */
class Told implements LeaseSource {
  #open: () => void = () => {};
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });
  readonly published: MemberRecord[] = [];
  listener: LeaseListener | undefined;
  subnet = '10.244.1.0/24';
  answer: NetConfig | Error = CONFIG;
  asked: Subnets | undefined;
  members: Lease[] = [member(2), member(3)];

  answers(): this {
    this.#open();
    return this;
  }

  async config(): Promise<NetConfig> {
    await this.#opened;
    if (this.answer instanceof Error) throw this.answer;
    return this.answer;
  }

  async stored() {
    await this.#opened;
    return {};
  }

  async acquire(self: MemberRecord, previous: Subnets): Promise<Lease> {
    await this.#opened;
    this.asked = previous;
    return { ...self, key: 'n1', subnet: this.subnet };
  }

  publish(self: MemberRecord): void {
    this.published.push(self);
  }

  async follow(listener: LeaseListener, signal: AbortSignal): Promise<void> {
    this.listener = listener;
    listener.snapshot(this.members);
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  }

  state() {
    return {
      kind: 'etcd' as const,
      where: '',
      synced: false,
      connected: false,
      since: 0,
      skipped: [],
      counters: {},
    };
  }

  async close(): Promise<void> {}
}

describe('a source of leases that is remembered', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vxlane-'));
  const path = join(directory, 'members.json');
  const log: string[] = [];
  let stop = new AbortController();

  after(() => rmSync(directory, { recursive: true }));
  afterEach(() => {
    stop.abort();
    stop = new AbortController();
    log.length = 0;
  });

  const remembering = (source: LeaseSource, graceMs = 50) =>
    new RememberingSource(source, { path, graceMs, writeMs: 20, logger: (_, message) => log.push(message) });

  /** Through its whole life, as a network has it. */
  async function live(source: RememberingSource) {
    const { signal } = stop;
    const config = await source.config(signal);
    await source.stored(signal);
    const own = await source.acquire(SELF, { subnet: '10.244.1.0/24' }, signal);
    const heard = new Heard();
    const following = source.follow(heard, signal).catch(() => undefined);
    return { config, own, heard, following };
  }

  /** A first life that has seen members 2 and 3. */
  async function before() {
    rmSync(path, { force: true });
    const source = remembering(new Told().answers());
    const { heard } = await live(source);
    await heard.until('both', () => heard.members.size === 2);
    await source.close();
    stop.abort();
    stop = new AbortController();
  }

  it('is waited for while nothing is remembered', async () => {
    rmSync(path, { force: true });
    const told = new Told();
    const config = remembering(told, 1).config(stop.signal);
    assert.equal(await Promise.race([config, sleep(100, 'waits')]), 'waits');
    told.answers();
    assert.deepEqual(await config, CONFIG);
  });

  it('goes on with what was known when it does not answer, and with the source when it does', async () => {
    await before();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const told = new Told();
    const source = remembering(told);
    const { config, own, heard } = await live(source);
    assert.deepEqual(config, CONFIG);
    assert.deepEqual(own, { ...SELF, key: 'n1', subnet: '10.244.1.0/24' });
    assert.deepEqual(heard.subnets, ['10.244.2.0/24', '10.244.3.0/24']);
    assert.match(log.join(), /does not answer: going on with what was known last/);
    source.publish({ ...SELF, publicIp: '192.0.2.9' });
    assert.equal(told.published.length, 0);
    told.members = [member(3), member(4)];
    told.answers();
    await heard.until(
      'the members that there are',
      () => heard.members.has('n4') && !heard.members.has('n2'),
    );
    assert.deepEqual(told.asked, { subnet: '10.244.1.0/24' });
    assert.deepEqual(heard.owns, []);
    assert.deepEqual(
      told.published.map(({ publicIp }) => publicIp),
      ['192.0.2.9'],
    );
    told.listener!.change([member(5)], ['n3']);
    await source.close();
    const kept = JSON.parse(readFileSync(path, 'utf8')) as { members: Lease[] };
    assert.deepEqual(kept.members.map(({ key }) => key).sort(), ['n4', 'n5']);
  });

  it('tells of a lease that is another one by then', async () => {
    await before();
    const told = new Told();
    told.subnet = '10.244.7.0/24';
    const { own, heard } = await live(remembering(told));
    assert.equal(own.subnet, '10.244.1.0/24');
    told.answers();
    await heard.until('the new lease', () => heard.owns.length > 0);
    assert.equal(heard.owns[0]!.subnet, '10.244.7.0/24');
  });

  it('says when the configuration has changed meanwhile', async () => {
    await before();
    const told = new Told();
    told.answer = { ...CONFIG, network: '10.0.0.0/8' };
    const { config, heard } = await live(remembering(told));
    assert.equal(config.network, '10.244.0.0/16');
    told.answers();
    await heard.until('it is said', () =>
      log.some((line) => /another configuration now: restart/.test(line)),
    );
  });

  it('refuses what the source refuses', async () => {
    await before();
    const told = new Told().answers();
    told.answer = new VtepError('USAGE', 'Backend is missing');
    await assert.rejects(remembering(told).config(stop.signal), { message: 'Backend is missing' });
  });

  for (const [what, text] of [
    ['cut short', '{"format":1,"config":'],
    ['of another format', '{"format":2,"config":{},"own":{},"members":[]}'],
    ['without members', '{"format":1,"config":{},"own":{}}'],
  ] as const)
    it(`does not go by a file that is ${what}`, async () => {
      writeFileSync(path, text);
      const config = remembering(new Told(), 1).config(stop.signal);
      assert.equal(await Promise.race([config, sleep(100, 'waits')]), 'waits');
    });
});
