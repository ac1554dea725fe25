/** etcd's messages (api/etcdserverpb/rpc.proto), those fields of them that are used here. Keys and values are text. */
import { Reader, Writer } from './protobuf.ts';

export interface KeyValue {
  key: string;
  value: string;
  /** Of the store, when this key was made and at its last change. */
  createRevision: number;
  modRevision: number;
  /** The lease it is attached to; 0n: none. */
  lease: bigint;
}

export interface RangeResponse {
  /** Of the store at the time of reading. */
  revision: number;
  kvs: KeyValue[];
  more: boolean;
}

export interface WatchResponse {
  revision: number;
  created: boolean;
  canceled: boolean;
  cancelReason: string;
  /** More of the same revision follows. */
  fragment: boolean;
  /** The oldest revision that can still be watched from, where that is why it was cancelled; else 0. */
  compactRevision: number;
  /** In their order; a deleted key has no value. */
  events: { deleted: boolean; kv: KeyValue }[];
}

/** Under which condition a key is written: absent, or as it was at a revision. */
export type Condition = { absent: true } | { modRevision: number };

export interface RangeRequest {
  key: string;
  rangeEnd?: string;
  limit?: number;
  /** Of the store, to read what was then. */
  revision?: number;
  /** Only keys that were made at this revision or later. */
  createdSince?: number;
}

export const rangeRequest = ({ key, rangeEnd, limit, revision, createdSince }: RangeRequest) =>
  new Writer()
    .bytes(1, key)
    .bytes(2, rangeEnd)
    .number(3, limit)
    .number(4, revision)
    .number(12, createdSince)
    .done();

/** A put when the condition holds. `lease` undefined: the key's lease stays as it is. */
export function putRequest(
  key: string,
  value: string,
  lease: bigint | undefined,
  condition: Condition,
): Buffer {
  const put = new Writer().bytes(1, key).bytes(2, value);
  if (lease === undefined) put.flag(6, true);
  else put.number(3, lease);
  return new Writer().message(1, compare(key, condition)).message(2, new Writer().message(2, put)).done();
}

export const deleteRequest = (key: string, condition: Condition) =>
  new Writer()
    .message(1, compare(key, condition))
    .message(2, new Writer().message(3, new Writer().bytes(1, key)))
    .done();

const TARGET_VERSION = 0;
const TARGET_MOD = 2;

/** "Equal" is 0 and left out, and so is version 0: the version of a key that isn't there. */
function compare(key: string, condition: Condition): Writer {
  if ('absent' in condition) return new Writer().number(2, TARGET_VERSION).bytes(3, key);
  return new Writer().number(2, TARGET_MOD).bytes(3, key).number(6, condition.modRevision);
}

export const watchRequest = (key: string, rangeEnd: string, startRevision: number) =>
  new Writer()
    .message(
      1,
      new Writer().bytes(1, key).bytes(2, rangeEnd).number(3, startRevision).flag(4, true).flag(8, true),
    )
    .done();

export const grantRequest = (seconds: number) => new Writer().number(1, seconds).done();
export const leaseRequest = (id: bigint) => new Writer().number(1, id).done();
export const authenticateRequest = (name: string, password: string) =>
  new Writer().bytes(1, name).bytes(2, password).done();

export function readRange(buffer: Buffer): RangeResponse {
  const response: RangeResponse = { revision: 0, kvs: [], more: false };
  const reader = new Reader(buffer);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) response.revision = readRevision(reader.bytes());
    else if (field === 2) response.kvs.push(readKeyValue(reader.bytes()));
    else if (field === 3) response.more = reader.number() !== 0;
  }
  return response;
}

export function readTxn(buffer: Buffer): { revision: number; succeeded: boolean } {
  const response = { revision: 0, succeeded: false };
  const reader = new Reader(buffer);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) response.revision = readRevision(reader.bytes());
    else if (field === 2) response.succeeded = reader.number() !== 0;
  }
  return response;
}

/** Of a grant and of a renewal alike; seconds of 0: there is no such lease any more. */
export function readLease(buffer: Buffer): { id: bigint; seconds: number } {
  const response = { id: 0n, seconds: 0 };
  const reader = new Reader(buffer);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 2) response.id = reader.bigint();
    else if (field === 3) response.seconds = reader.number();
  }
  return response;
}

export function readToken(buffer: Buffer): string {
  const reader = new Reader(buffer);
  for (let field = reader.next(); field !== 0; field = reader.next()) if (field === 2) return reader.text();
  return '';
}

export function readWatch(buffer: Buffer): WatchResponse {
  const response: WatchResponse = {
    revision: 0,
    created: false,
    canceled: false,
    cancelReason: '',
    compactRevision: 0,
    fragment: false,
    events: [],
  };
  const reader = new Reader(buffer);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) response.revision = readRevision(reader.bytes());
    else if (field === 3) response.created = reader.number() !== 0;
    else if (field === 4) response.canceled = reader.number() !== 0;
    else if (field === 5) response.compactRevision = reader.number();
    else if (field === 6) response.cancelReason = reader.text();
    else if (field === 7) response.fragment = reader.number() !== 0;
    else if (field === 11) response.events.push(readEvent(reader.bytes()));
  }
  return response;
}

function readEvent(buffer: Buffer): { deleted: boolean; kv: KeyValue } {
  const event = { deleted: false, kv: { key: '', value: '', createRevision: 0, modRevision: 0, lease: 0n } };
  const reader = new Reader(buffer);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) event.deleted = reader.number() === 1;
    else if (field === 2) event.kv = readKeyValue(reader.bytes());
  }
  return event;
}

function readKeyValue(buffer: Buffer): KeyValue {
  const kv: KeyValue = { key: '', value: '', createRevision: 0, modRevision: 0, lease: 0n };
  const reader = new Reader(buffer);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) kv.key = reader.text();
    else if (field === 2) kv.createRevision = reader.number();
    else if (field === 3) kv.modRevision = reader.number();
    else if (field === 5) kv.value = reader.text();
    else if (field === 6) kv.lease = reader.bigint();
  }
  return kv;
}

function readRevision(header: Buffer): number {
  const reader = new Reader(header);
  for (let field = reader.next(); field !== 0; field = reader.next()) if (field === 3) return reader.number();
  return 0;
}
