/**
 * Bodies over UDP between two tiny hosts: cut into datagrams, put together again on the other side, which answers
 * with the SHA-256 of what it has got. Nothing is sent twice: what is lost shows.
 *
 *   datagram: kind (1), 0, part (2), parts (2), body (4), then a piece of the body, or the answer's hash
 */
import { createHash, randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import type { TinyHost } from './tiny-host.ts';

export const BODY_BYTES = 1 << 18;
const PORT = 9000;
const PIECE_BYTES = 1400;
const HEADER_BYTES = 10;
const PIECE = 1;
const ANSWER = 2;
const ANSWER_MS = 2000;
/** As many as a socket's buffer holds for sure; then the other side gets its turn. */
const BURST = 16;

const sha256 = (parts: readonly Buffer[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export class TinyTransfers {
  readonly #host: TinyHost;
  readonly #arriving = new Map<number, { pieces: Buffer[]; missing: number }>();
  readonly #answers = new Map<number, (hash: Buffer) => void>();
  #next = 0;

  constructor(host: TinyHost) {
    this.#host = host;
    host.onUdp = ({ source, sourcePort, data }) => {
      if (sourcePort !== PORT || data.length < HEADER_BYTES) return;
      const body = data.readUInt32BE(6);
      const rest = data.subarray(HEADER_BYTES);
      if (data[0] === ANSWER) this.#answers.get(body)?.(rest);
      else if (data[0] === PIECE) this.#take(source, body, data.readUInt16BE(2), data.readUInt16BE(4), rest);
    };
  }

  /** Sends a body of random bytes; true if the other side has got exactly these. Rejects without an answer. */
  async send(target: string): Promise<boolean> {
    const body = randomBytes(BODY_BYTES);
    const number = this.#next++;
    const parts = Math.ceil(body.length / PIECE_BYTES);
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#answers.set(number, resolve);
      setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS / 1000} s`)), ANSWER_MS);
    });
    // It may be late before the last piece is out.
    answer.catch(() => {});
    try {
      for (let part = 0; part < parts; ++part) {
        const piece = body.subarray(part * PIECE_BYTES, (part + 1) * PIECE_BYTES);
        this.#say(target, PIECE, part, parts, number, piece);
        if (part % BURST === BURST - 1) await turn();
      }
      return (await answer).equals(sha256([body]));
    } finally {
      this.#answers.delete(number);
    }
  }

  #take(from: string, body: number, part: number, parts: number, piece: Buffer): void {
    const arriving = this.#arriving.get(body) ?? { pieces: [], missing: parts };
    this.#arriving.set(body, arriving);
    // What has not arrived by now is lost.
    this.#arriving.delete(body - 2);
    if (arriving.pieces[part] !== undefined) return;
    // The frame's memory is not ours to keep.
    arriving.pieces[part] = Buffer.from(piece);
    if (--arriving.missing > 0) return;
    this.#arriving.delete(body);
    this.#say(from, ANSWER, 0, 1, body, sha256(arriving.pieces));
  }

  #say(target: string, kind: number, part: number, parts: number, body: number, rest: Buffer): void {
    const header = Buffer.alloc(HEADER_BYTES);
    header[0] = kind;
    header.writeUInt16BE(part, 2);
    header.writeUInt16BE(parts, 4);
    header.writeUInt32BE(body, 6);
    this.#host.sendUdp(target, PORT, PORT, Buffer.concat([header, rest]));
  }
}
