/** The command line in this process, with a daemon at a socket. */
import { runCli } from '../../src/cli/program.ts';

export interface Said {
  code: number;
  out: string;
  err: string;
}

export async function commandLine(socket: string, line: string): Promise<Said> {
  const said = { out: '', err: '' };
  const code = await runCli(line.split(' ').filter(Boolean), {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    env: { VXLANE_SOCKET: socket },
  });
  return { code, ...said };
}
