/** The near pod: downloads and uploads in turn, each verified by hash, and an echo every 100 ms, each timed. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { Echoes, Traffic, Transfers } from './lab.ts';
import { BODY_BYTES, ECHO_PORT, HASH_HEADER, HTTP_PORT, sha256 } from './pod-server.ts';

/** Twenty bodies of 1 MiB a second: work to look at, without heating the room. */
const REQUEST_PERIOD_MS = 50;
const REQUEST_TIMEOUT_MS = 5000;
const ECHO_PERIOD_MS = 100;
/** With its headers the 98 bytes that ping sends. */
const ECHO_BYTES = 56;
const RTTS_KEPT = 100;

/** Starts the traffic; the result tells what has been counted so far. */
export async function startClient(address: string, own: string): Promise<() => Traffic> {
  const transfers: Transfers = { done: 0, bytesOut: 0, bytesIn: 0, corrupt: 0, failed: 0 };
  const echoes: Echoes = { sent: 0, received: 0, corrupt: 0, rtts: [] };
  await startEchoes(address, own, echoes);
  void keepTransferring(address, own, transfers);
  return () => ({ transfers, echoes });
}

async function keepTransferring(address: string, own: string, count: Transfers): Promise<never> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const options = { host: address, port: HTTP_PORT, localAddress: own, agent };
  for (let turn = 0; ; ++turn) {
    const due = performance.now() + REQUEST_PERIOD_MS;
    const upload = turn % 2 === 1 ? randomBytes(BODY_BYTES) : undefined;
    try {
      const answer = await exchange(options, upload);
      const intact =
        upload === undefined
          ? answer.body.length === BODY_BYTES && sha256(answer.body) === answer.hash
          : answer.body.toString() === sha256(upload);
      if (!intact) ++count.corrupt;
      else if (upload === undefined) count.bytesIn += BODY_BYTES;
      else count.bytesOut += BODY_BYTES;
      if (intact) ++count.done;
    } catch (error) {
      ++count.failed;
      count.lastFailure = wordsFor(error as Error);
    }
    await pause(Math.max(0, due - performance.now()));
  }
}

function wordsFor({ name, message }: Error): string {
  return name === 'AbortError' ? `no answer within ${REQUEST_TIMEOUT_MS / 1000} s` : message;
}

interface Target {
  host: string;
  port: number;
  localAddress: string;
  agent: Agent;
}

function exchange(target: Target, upload?: Buffer): Promise<{ body: Buffer; hash: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = upload === undefined ? {} : { 'content-length': upload.length };
    const call = request({
      ...target,
      headers,
      method: upload === undefined ? 'GET' : 'POST',
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    call.on('error', reject);
    call.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ body: Buffer.concat(chunks), hash: response.headers[HASH_HEADER] }));
    });
    call.end(upload);
  });
}

async function startEchoes(address: string, own: string, count: Echoes): Promise<void> {
  const socket = createSocket('udp4');
  // Echoes under way: number -> what was sent, and when.
  const open = new Map<number, { payload: Buffer; at: number }>();
  socket.on('message', (message) => {
    const now = performance.now();
    const number = message.length >= 4 ? message.readUInt32BE(0) : -1;
    const sent = open.get(number);
    if (sent === undefined || !sent.payload.equals(message)) {
      ++count.corrupt;
      return;
    }
    open.delete(number);
    ++count.received;
    count.rtts.push(now - sent.at);
    if (count.rtts.length > RTTS_KEPT) count.rtts.shift();
  });
  socket.on('error', () => {
    // Unreachable for the moment: the echo does not come back, and that is what is counted.
  });
  socket.bind(0, own);
  await once(socket, 'listening');
  setInterval(() => {
    const payload = randomBytes(ECHO_BYTES);
    payload.writeUInt32BE(count.sent, 0);
    open.delete(count.sent - RTTS_KEPT);
    open.set(count.sent++, { payload, at: performance.now() });
    socket.send(payload, ECHO_PORT, address);
  }, ECHO_PERIOD_MS);
}
