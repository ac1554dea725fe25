/**
 * etcd as flanneld uses it, spoken through the JSON gateway that every etcd server has: the peer under test takes
 * another way (gRPC), so that a mistake in a client is not made on both sides. Keys and values are text, revisions
 * and lease ids stay the decimal strings that the gateway sends.
 */

export interface KeyValue {
  key: string;
  value: string;
  revision: string;
  /** '0': the key was put without a lease. */
  lease: string;
}

export interface WatchEvent {
  type: 'PUT' | 'DELETE';
  kv: KeyValue;
}

/** What a watch ended with: the last revision seen, and whether what came before it was compacted away. */
export interface WatchEnd {
  revision: string;
  compacted: boolean;
}

const encode = (text: string) => Buffer.from(text).toString('base64');
const decode = (base64: string | undefined) => Buffer.from(base64 ?? '', 'base64').toString();

/** etcd's range end of a prefix: the prefix with its last byte raised. */
const afterPrefix = (prefix: string) =>
  prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);

// biome-ignore lint/suspicious/noExplicitAny: the gateway's JSON
type Json = any;

function readKv(kv: Json): KeyValue {
  return {
    key: decode(kv.key),
    value: decode(kv.value),
    revision: kv.mod_revision ?? '0',
    lease: kv.lease ?? '0',
  };
}

export class Gateway {
  readonly #endpoints: readonly string[];

  constructor(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
  }

  /** The first endpoint that answers. */
  async #post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    let last: unknown;
    for (const endpoint of this.#endpoints) {
      try {
        const response = await fetch(`${endpoint}/v3/${path}`, {
          method: 'POST',
          body: JSON.stringify(body),
          signal: signal ?? AbortSignal.timeout(5000),
        });
        if (response.ok) return response;
        throw new Error(`${path}: ${response.status} ${await response.text()}`);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #ask(path: string, body: object): Promise<Json> {
    return (await this.#post(path, body)).json();
  }

  async get(key: string): Promise<KeyValue | undefined> {
    const { kvs = [] } = await this.#ask('kv/range', { key: encode(key) });
    return kvs.map(readKv)[0];
  }

  async list(prefix: string): Promise<{ kvs: KeyValue[]; revision: string }> {
    const range = { key: encode(prefix), range_end: encode(afterPrefix(prefix)) };
    const { kvs = [], header } = await this.#ask('kv/range', range);
    return { kvs: kvs.map(readKv), revision: header.revision };
  }

  /** @param seconds time to live; etcd makes it two at least */
  async grant(seconds: number): Promise<string> {
    return (await this.#ask('lease/grant', { TTL: `${seconds}` })).ID;
  }

  put(key: string, value: string, lease: string): Promise<unknown> {
    return this.#ask('kv/put', { key: encode(key), value: encode(value), lease });
  }

  /** Puts the key only if nobody has it. */
  async create(key: string, value: string, lease: string): Promise<boolean> {
    const result = await this.#ask('kv/txn', {
      compare: [{ key: encode(key), target: 'VERSION', result: 'EQUAL', version: '0' }],
      success: [{ request_put: { key: encode(key), value: encode(value), lease } }],
    });
    return result.succeeded === true;
  }

  remove(key: string): Promise<unknown> {
    return this.#ask('kv/deleterange', { key: encode(key) });
  }

  /** Hears of changes after `revision` until the stream ends; throws when it can't be opened or breaks. */
  async watch(
    prefix: string,
    revision: string,
    heard: (events: WatchEvent[], revision: string) => void,
    signal: AbortSignal,
  ): Promise<WatchEnd> {
    const create_request = {
      key: encode(prefix),
      range_end: encode(afterPrefix(prefix)),
      start_revision: `${BigInt(revision) + 1n}`,
    };
    const response = await this.#post('watch', { create_request }, signal);
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const { result, error } = JSON.parse(line);
        if (error) throw new Error(`watch: ${error.message}`);
        if (result.canceled) {
          return { revision, compacted: result.compact_revision !== undefined };
        }
        const events = (result.events ?? []).map((event: Json) => ({
          type: event.type ?? 'PUT',
          kv: readKv(event.kv),
        }));
        if (events.length === 0) continue;
        revision = result.header.revision;
        heard(events, revision);
      }
    }
    return { revision, compacted: false };
  }
}
