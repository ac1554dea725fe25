/** The commands that are no objects of iproute2. Each loads what it needs when it is asked for. */
import { type Command as Commander, Option } from 'commander';
import { daemonSocket } from '../daemon/socket-path.ts';
import { spin, threads } from '../daemon/values.ts';
import { VtepError } from '../errors.ts';
import type { Command, Outside } from './command.ts';
import type { ProgramWords } from './completion.ts';
import { FLAG_NAMES, FLANNEL_HELP } from './flannel-flags.ts';
import * as help from './help.ts';
import { OBJECTS } from './objects.ts';
import { flagsOf, inputOf, type Options } from './options.ts';
import type { Tuning } from './serve.ts';
import type { SinkFlags } from './sink.ts';

export function addOwnCommands(program: Commander, outside: Outside, exitWith: (code: number) => void): void {
  const options = () => program.opts<Options>();
  const sockets = () => ({
    flag: options().socket,
    env: outside.env.VXLANE_SOCKET || undefined,
    default: daemonSocket(),
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
      await serveConfig(config, sockets(), tuning, outside);
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
      await serveFlannel(words, sockets(), outside);
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
