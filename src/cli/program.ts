/**
 * The command line: argv in, exit code out. Commander reads the flags and prints the help; the words behind
 * an object are iproute2's and read by that object's own file, which is loaded only when it is asked for.
 *
 * Exit codes: 0 done, 1 usage, 2 refused, 3 no daemon. An error is one line on stderr.
 */
import { Command as Commander, CommanderError } from 'commander';
import { createClient, NoDaemonError, SOCKET_DEFAULT } from '../daemon/client.ts';
import { clientSocket, daemonSocket } from '../daemon/socket-path.ts';
import { VtepError } from '../errors.ts';
import { version } from '../version.ts';
import { normalise } from './argv.ts';
import type { Command, Outside } from './command.ts';
import * as help from './help.ts';

const USAGE = 1;
const REFUSED = 2;
const NO_DAEMON = 3;

interface Options {
  json?: true;
  pretty?: true;
  details: number;
  statistics: number;
  socket?: string;
}

export async function runCli(argv: readonly string[], outside: Outside): Promise<number> {
  let code = 0;
  const program = describe(outside, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(normalise(argv), { from: 'user' });
    return code;
  } catch (error) {
    return report(error, outside);
  }
}

function report(error: unknown, outside: Outside): number {
  // Commander has said it already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  const known = error instanceof VtepError || error instanceof NoDaemonError;
  const message = error instanceof Error ? error.message : String(error);
  outside.err(`vxlane: ${known ? '' : 'internal error: '}${oneLine(message)}\n`);
  if (error instanceof NoDaemonError) return NO_DAEMON;
  return error instanceof VtepError && error.code === 'USAGE' ? USAGE : REFUSED;
}

/** One line, and no control character in it that a terminal would obey. */
function oneLine(text: string): string {
  return text
    .trim()
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\p{Cc}/gu, '?');
}

function describe(outside: Outside, exitWith: (code: number) => void): Commander {
  const more = (_: unknown, times: number) => times + 1;
  const program = new Commander('vxlane')
    .description("Linux's VXLAN device in user space: ip link and bridge fdb, with the same words")
    .exitOverride()
    .showSuggestionAfterError(false)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: outside.out,
      writeErr: outside.err,
      outputError: (text, write) => write(`vxlane: ${oneLine(remedy(text.replace(/^error: /, '')))}\n`),
    })
    .version(version(), '-V, --version')
    .helpOption('-h, --help', 'show this help')
    .option('-j, --json', 'print JSON, with the keys of iproute2')
    .option('-p, --pretty', 'indent the JSON')
    .option('-s, --statistics', 'show counters and ages; twice: kinds of errors', more, 0)
    .option('-d, --details', 'show all options of a device', more, 0)
    .option('--socket <path>', `control socket (default: VXLANE_SOCKET, or ${SOCKET_DEFAULT})`)
    .addHelpText('after', help.TOP);
  const options = () => program.opts<Options>();

  const speak = (name: 'link' | 'fdb', verbs: string, what: string, text: string) => {
    const object = program.command(name).description(what).usage(`[options] ${verbs}`).argument('[words...]');
    object.addHelpText('after', text).action(async (words: string[]) => {
      if (words.at(-1) === 'help') return object.outputHelp();
      const command = inputOf(words, options(), outside);
      if (name === 'link') await (await import('./link.ts')).link(command);
      else await (await import('./fdb.ts')).fdb(command);
    });
  };
  speak('link', 'add|set|del|show ...', 'devices: the words of ip link', help.LINK);
  speak(
    'fdb',
    'add|append|replace|del|show|get|flush ...',
    'forwarding entries: the words of bridge fdb',
    help.FDB,
  );

  program
    .command('status')
    .description('engine, workers, rates, and drops by reason')
    .addHelpText('after', help.STATUS)
    .action(() => status(inputOf([], options(), outside)));

  program
    .command('daemon')
    .description('own devices and serve the control socket, in the foreground')
    .option('--config <file>', 'YAML or JSON: the devices to begin with')
    .addHelpText('after', help.DAEMON)
    .action(async ({ config }: { config?: string }) => {
      const { serveConfig } = await import('./serve.ts');
      const sockets = {
        flag: options().socket,
        env: outside.env.VXLANE_SOCKET || undefined,
        default: daemonSocket(),
      };
      await serveConfig(config, sockets, outside);
    });

  program
    .command('run')
    .description('one device in the foreground, without a daemon')
    .usage('[options] NAME id VNI ...')
    .argument('<words...>')
    .addHelpText('after', help.RUN)
    .action(async (words: string[], _: unknown, command: Commander) => {
      if (words.at(-1) === 'help') return command.outputHelp();
      const { serveDevice } = await import('./serve.ts');
      await serveDevice(words, options().socket, outside);
    });

  program
    .command('demo')
    .description('two hosts, a tunnel and real traffic on this machine')
    .option('--once', 'ten seconds, then exit 0 only if traffic crossed')
    .option('--seconds <number>', 'how long')
    .addHelpText('after', help.DEMO)
    .action(async ({ once, seconds }: { once?: true; seconds?: string }) => {
      const { demo } = await import('./demo.ts');
      const limit = seconds === undefined ? {} : { seconds: positive(seconds) };
      exitWith(await demo({ once: once === true, json: options().json === true, ...limit }));
    });

  program
    .command('wrap')
    .description('a command with "ip" and "bridge" that know the devices of vxlane')
    .usage('[--path] | -- COMMAND [ARGUMENT...]')
    .option('--path', 'print the folder to put first in PATH')
    .argument('[command...]')
    .addHelpText('after', help.WRAP)
    .action(async (words: string[], { path }: { path?: true }) => {
      const { wrap } = await import('./wrap.ts');
      exitWith(await wrap(words, path === true, options().socket, outside));
    });
  return program;
}

function positive(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && Number.isFinite(seconds)) return seconds;
  throw new VtepError('USAGE', `argument "${text}" is wrong: --seconds takes a number of seconds`);
}

/** Commander says what is wrong; this adds what to do. */
function remedy(text: string): string {
  const object = /^unknown command '(.*)'/.exec(text)?.[1];
  if (object !== undefined) return `object "${object}" is unknown, try "vxlane --help"`;
  return `${text.trim().replace(/\.$/, '')}, try --help`;
}

function inputOf(
  words: string[],
  { json, pretty, details, statistics, socket }: Options,
  outside: Outside,
): Command {
  return {
    words,
    flags: { json: json === true, pretty: pretty === true, details: details > 0, statistics },
    client: createClient(socket ?? clientSocket(outside.env)),
    outside,
  };
}

async function status({ client, flags, outside }: Command): Promise<void> {
  const { sampleStatus } = await import('./status.ts');
  const { status, rates } = await sampleStatus(client);
  if (flags.json) outside.out((await import('./json.ts')).toJson({ ...status, rates }, flags.pretty));
  else outside.out((await import('./status-format.ts')).statusText(status, rates));
}
