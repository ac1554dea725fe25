/**
 * Flows of numbered UDP datagrams, and who receives them. As a program: `send ADDRESS`, or `collect ADDRESS`, which says
 * when it listens and answers every message of its IPC channel with what has arrived.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const FLOWS = 48;
export const EACH = 150;
const PORT = 7000;
const BUFFER_BYTES = 4 << 20;

/** The numbers of each flow, in the order of their arrival. */
export type Arrived = [flow: number, numbers: number[]][];

export async function send(address: string): Promise<void> {
  const sockets = Array.from({ length: FLOWS }, () => createSocket('udp4'));
  for (let number = 0; number < EACH; ++number) {
    sockets.forEach((socket, flow) => {
      socket.send(`${flow} ${number}`, PORT, address);
    });
    await sleep(2);
  }
  await sleep(50);
  for (const socket of sockets) socket.close();
}

export async function collect(address: string): Promise<{ arrived: Arrived; close(): void }> {
  const arrived: Arrived = [];
  const flows = new Map<number, number[]>();
  const socket = createSocket({ type: 'udp4', recvBufferSize: BUFFER_BYTES });
  socket.on('message', (message) => {
    const [flow, number] = message.toString().split(' ').map(Number) as [number, number];
    let numbers = flows.get(flow);
    if (numbers === undefined) {
      numbers = [];
      flows.set(flow, numbers);
      arrived.push([flow, numbers]);
    }
    numbers.push(number);
  });
  socket.bind(PORT, address);
  await once(socket, 'listening');
  return { arrived, close: () => socket.close() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , what, address] = process.argv as [string, string, string, string];
  if (what === 'send') await send(address);
  else {
    const { arrived } = await collect(address);
    process.on('message', () => process.send!(arrived));
    process.on('disconnect', () => process.exit());
    process.send!('ready');
  }
}
