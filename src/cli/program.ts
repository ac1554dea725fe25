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
import { Command as Commander, CommanderError } from 'commander';
import { VtepError } from '../errors.ts';
import { version } from '../version.ts';
import { normalise, objectNamed } from './argv.ts';
import type { Command, Outside, Spoken } from './command.ts';
import * as help from './help.ts';
import { OBJECTS } from './objects.ts';
import { addOptions, inputOf, type Options } from './options.ts';
import { addOwnCommands } from './own-commands.ts';
import { OWN, oneLine, remedy, report } from './report.ts';

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

function describe(outside: Outside, exitWith: (code: number) => void): Commander {
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
    .addHelpText('after', help.TOP);
  addOptions(program);
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

  addOwnCommands(program, outside, exitWith);
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
