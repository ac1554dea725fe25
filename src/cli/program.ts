/**
 * The command line: argv in, exit code out. Commander reads the flags and prints the help; the words behind
 * an object are iproute2's and read by that object's own file, which objects.ts names and which is loaded only
 * when it is asked for. An error is one line on stderr.
 *
 * Exit codes are those of `ip` and `bridge`:
 *
 *             done  parser refused  invalid argument  daemon refused  nothing found  no daemon
 *   link        0         1               255               2               -            3
 *   fdb ...     0        255              255              255         254 (by get)      3
 *   the rest    0         1               255               2               -            3
 *
 * An object's line in objects.ts holds its codes; an error that differs brings its own (VtepError's `exit`).
 */
import { existsSync } from 'node:fs';
import { Command as Commander, CommanderError, Option } from 'commander';
import { createClient, NoDaemonError, Refusal, SOCKET_DEFAULT } from '../daemon/client.ts';
import { clientSocket, daemonSocket, socketOfNamespace } from '../daemon/socket-path.ts';
import { spin, threads } from '../daemon/values.ts';
import { VtepError } from '../errors.ts';
import { version } from '../version.ts';
import { normalise, objectNamed } from './argv.ts';
import type { Command, Exits, Flags, Outside, Spoken } from './command.ts';
import type { ProgramWords } from './completion.ts';
import { FLAG_NAMES, FLANNEL_HELP } from './flannel-flags.ts';
import * as help from './help.ts';
import { OBJECTS } from './objects.ts';
import type { Tuning } from './serve.ts';
import type { SinkFlags } from './sink.ts';

const NO_DAEMON = 3;
/** Of what is no object of iproute2, and of words that no object gets to see. */
const OWN: Exits = { usage: 1, refused: 2 };

interface Options {
  json?: true;
  pretty?: true;
  details: number;
  statistics: number;
  oneline?: true;
  brief?: true;
  family?: string;
  4?: true;
  6?: true;
  force?: true;
  batch?: string;
  netns?: string;
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
    // Commander has said it already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : OWN.usage;
    return report(error, OWN, outside);
  }
}

/** Says what is wrong. */
function report(error: unknown, exits: Exits, outside: Outside): number {
  const known = error instanceof VtepError || error instanceof NoDaemonError;
  const message = error instanceof Error ? error.message : String(error);
  outside.err(`vxlane: ${known ? '' : 'internal error: '}${oneLine(message)}\n`);
  if (error instanceof NoDaemonError) return NO_DAEMON;
  if (!(error instanceof VtepError)) return exits.refused;
  const own = error.code === 'USAGE' && !(error instanceof Refusal);
  return error.exit ?? (own ? exits.usage : exits.refused);
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
    .option('-d, --details', 'show all options of a device; twice: those at their default too', more, 0)
    .option('-o, --oneline', 'one record a line, "\\" where a line would end')
    .option('--brief', 'devices as a short table (also -br)')
    .option('-4', 'IPv4 underlay')
    .option('-6', 'IPv6 underlay, for a device without addresses')
    .addOption(new Option('--family <inet|inet6>').hideHelp())
    .option('-b, --batch <file>', 'read commands from a file, one a line; "-": from standard input')
    .option('--force', 'a batch goes on after a command that failed')
    .option('-n, --netns <name>', 'ask the daemon of this network namespace ("ip netns")')
    .option('--socket <path>', `control socket (default: VXLANE_SOCKET, or ${SOCKET_DEFAULT})`)
    .addHelpText('after', help.TOP);
  const options = () => program.opts<Options>();

  for (const spoken of OBJECTS) {
    const object = program.command(spoken.name).description(spoken.what).argument('[words...]');
    object
      .usage(`[options] ${spoken.verbs}`)
      // "-1" is a wrong number, and the object says so.
      .allowUnknownOption()
      .addHelpText('after', spoken.help)
      .action(async (words: string[]) => {
        if (words.at(-1) === 'help') return object.outputHelp();
        exitWith(await speak(spoken, inputOf(words, options(), outside)));
      });
  }

  program
    .command('batch', { hidden: true })
    .description('commands from a file: -batch FILE')
    .action(async () => {
      const { batch: file, force = false, ...others } = options();
      if (file === undefined)
        throw new VtepError('USAGE', 'a file of commands is missing, as in "-batch FILE"');
      const { runBatch } = await import('./batch.ts');
      const input = inputOf([], others, outside);
      const run = async ([word, ...words]: string[]) => {
        const object = OBJECTS.find(({ name }) => name === objectNamed(word!));
        if (object !== undefined) return speak(object, { ...input, words });
        outside.err(`vxlane: object "${word}" is unknown, try "vxlane --help"\n`);
        return OWN.usage;
      };
      const stdin = outside.input === undefined ? {} : { input: outside.input };
      exitWith(await runBatch({ file, force, run, err: outside.err, ...stdin }));
    });

  program
    .command('status')
    .description('engine, workers, rates, and drops by reason')
    .addHelpText('after', help.STATUS)
    .action(() => status(inputOf([], options(), outside)));

  program
    .command('daemon')
    .description('own devices and serve the control socket, in the foreground')
    .option('--config <file>', 'YAML or JSON: the devices to begin with')
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(spinOption())
    .addHelpText('after', help.DAEMON)
    .action(async ({ config, ...tuning }: { config?: string } & Tuning) => {
      const { serveConfig } = await import('./serve.ts');
      const sockets = {
        flag: options().socket,
        env: outside.env.VXLANE_SOCKET || undefined,
        default: daemonSocket(),
      };
      await serveConfig(config, sockets, tuning, outside);
    });

  program
    .command('flannel')
    .description('a flannel node in the foreground, with the flags of flanneld; "status" shows one')
    .usage('[flags] | status')
    .argument('[words...]')
    .allowUnknownOption()
    .addHelpText('after', FLANNEL_HELP)
    .action(async (words: string[], _: object, command: Commander) => {
      if (words.at(-1) === 'help') return command.outputHelp();
      if (words[0] === 'status') return flannelStatus(inputOf(words.slice(1), options(), outside));
      const { serveFlannel } = await import('./serve.ts');
      const sockets = {
        flag: options().socket,
        env: outside.env.VXLANE_SOCKET || undefined,
        default: daemonSocket(),
      };
      await serveFlannel(words, sockets, outside);
    });

  program
    .command('run')
    .description('one device in the foreground, without a daemon')
    .usage('[options] NAME id VNI ...')
    .argument('<words...>')
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(spinOption())
    .addHelpText('after', help.RUN)
    .action(async (words: string[], tuning: Tuning, command: Commander) => {
      if (words.at(-1) === 'help') return command.outputHelp();
      const { serveDevice } = await import('./serve.ts');
      await serveDevice(words, options().socket, tuning, outside);
    });

  program
    .command('sink')
    .description('inner packets of mirrored traffic, of any VNI, to pcapng or a TAP; needs no root')
    .option('--port <list>', 'UDP ports to receive on (default: 4789)')
    .option('--address <address>', 'receive what is sent to this address only')
    .option('--vni <list>', 'VNIs to keep, as 5,7-9 (default: any)')
    .option('--write <file>', 'pcapng to this file; "-": to standard output')
    .option('--snaplen <bytes>', 'keep so much of each packet (default: all)')
    .option('--rotate <limits>', 'a row of files: size=100M,seconds=3600,files=24')
    .option('--filter <expression>', 'packets to keep, in words of pcap-filter')
    .option('--tap <name>', 'write the packets to a TAP of this name (CAP_NET_ADMIN)')
    .option('--stats', 'show counters, drops and senders at the end')
    .addHelpText('after', help.SINK)
    .action(async (flags: SinkFlags) => {
      const { sink } = await import('./sink.ts');
      exitWith(await sink(flags, flagsOf(options()), outside));
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
    .command('completion')
    .description('what bash, zsh or fish needs to complete commands')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText('after', help.COMPLETION)
    .action(async (typed: string) => {
      const { completionScript, SHELLS } = await import('./completion.ts');
      const shell = SHELLS.find((name) => name === typed);
      if (shell === undefined)
        throw new VtepError('USAGE', `argument "${typed}" is wrong: ${SHELLS.join(', ')} are known`);
      outside.out(await completionScript(shell, wordsOf(program)));
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

async function speak({ exits, run }: Spoken, command: Command): Promise<number> {
  try {
    const code = await run(command);
    return typeof code === 'number' ? code : 0;
  } catch (error) {
    return report(error, exits, command.outside);
  }
}

function engineOption(): Option {
  return new Option(
    '--engine <name>',
    'how frames cross the border to a TAP: auto, uring (io_uring) or batched',
  ).choices(['auto', 'batched', 'uring']);
}

function threadsOption(): Option {
  return new Option(
    '--threads <number>',
    'of each queue: 1 for both directions, or 2 (default: by the number of cores)',
  ).argParser(threads);
}

function spinOption(): Option {
  return new Option(
    '--spin <microseconds>',
    'how long a worker looks for more before it sleeps (default: 100; 0: not at all)',
  ).argParser(spin);
}

/** What completion has to know of commander's own. */
function wordsOf(program: Commander): ProgramWords {
  const flagsOf = ({ options }: Commander) =>
    options
      .filter(({ hidden }) => !hidden)
      .flatMap(({ short, long }) => [short, long].filter((one) => !!one));
  const isObject = (name: string) => OBJECTS.some((object) => object.name === name);
  return {
    flags: [...(flagsOf(program) as string[]), '-h', '--help'],
    commands: program.commands
      .filter((command) => !isObject(command.name()) && command.name() !== 'batch')
      .map((command) => ({
        name: command.name(),
        what: command.description(),
        flags: command.name() === 'flannel' ? ['status', ...FLAG_NAMES] : (flagsOf(command) as string[]),
      })),
  };
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

function inputOf(words: string[], options: Options, outside: Outside): Command {
  const { socket, netns } = options;
  if (netns !== undefined && socket === undefined && !existsSync(socketOfNamespace(netns)))
    throw new VtepError(
      'UNSUPPORTED',
      `-netns ${netns}: no daemon serves that namespace: "ip netns exec ${netns} vxlane daemon" starts one`,
    );
  return {
    words,
    flags: flagsOf(options),
    client: createClient(
      socket ?? (netns === undefined ? clientSocket(outside.env) : socketOfNamespace(netns)),
    ),
    outside,
  };
}

function flagsOf(options: Options): Flags {
  const { family = options[6] ? 'inet6' : options[4] ? 'inet' : undefined } = options;
  if (family !== undefined && family !== 'inet' && family !== 'inet6')
    throw new VtepError(
      'USAGE',
      `argument "${family}" is wrong: invalid protocol family: inet or inet6`,
      255,
    );
  return {
    json: options.json === true,
    pretty: options.pretty === true,
    details: options.details > 0,
    everything: options.details > 1,
    statistics: options.statistics,
    oneline: options.oneline === true,
    brief: options.brief === true,
    ...(family === undefined ? {} : { family }),
  };
}

async function status({ client, flags, outside }: Command): Promise<void> {
  const { sampleStatus } = await import('./status.ts');
  const { status, rates } = await sampleStatus(client);
  if (flags.json) outside.out((await import('./json.ts')).toJson({ ...status, rates }, flags.pretty));
  else outside.out((await import('./status-format.ts')).statusText(status, rates));
}

async function flannelStatus({ client, flags, outside }: Command): Promise<void> {
  const status = await client.flannel();
  if (flags.json) outside.out((await import('./json.ts')).toJson(status, flags.pretty));
  else outside.out((await import('./flannel-format.ts')).flannelText(status));
}
