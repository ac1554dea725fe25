/** `vxlane link ...`: the words of `ip link`, carried out by the daemon. */
import { type Command, refusedWith } from './command.ts';
import { parseAdd, parseName, parseSet } from './device-words.ts';
import { toJson } from './json.ts';
import { linkObjects, linkText } from './link-format.ts';
import { firstMatch, invalid, unknownVerb } from './words.ts';

/** In the order in which `ip link` tries them. */
const VERBS = ['add', 'set', 'change', 'delete', 'show', 'lst', 'list'];

/** `ip` looks a device up by itself before it asks the kernel. */
const ABSENT_EXIT = 1;

const PORT_NOTICE = `vxlane: destination port not specified
Will use Linux kernel default (non-standard value)
Use 'dstport 4789' to get the IANA assigned value
Use 'dstport 0' to get default and quiet this message
`;

export async function link({ words: [word, ...words], ...command }: Command): Promise<void> {
  const verb = word === undefined ? 'show' : firstMatch(word, VERBS);
  if (verb === 'add') return add(words, command);
  if (verb === 'set' || verb === 'change') return set(words, command);
  if (verb === 'delete') return remove(words, command);
  if (verb !== undefined) return show(words, command);
  throw unknownVerb('link', word);
}

type Rest = Omit<Command, 'words'>;

async function add(words: string[], { client, outside }: Rest): Promise<void> {
  const { device, up, portChosen } = parseAdd(words);
  if (!portChosen) outside.err(PORT_NOTICE);
  const { config } = await client.addLink(device);
  if (!up) return;
  try {
    await client.setLink(config.name, { up: true });
  } catch (error) {
    // One command, one outcome: a device that can't come up was not added.
    await client.deleteLink(config.name);
    throw error;
  }
}

async function set(words: string[], { client }: Rest): Promise<void> {
  const { name, change } = parseSet(words);
  await refusedWith(ABSENT_EXIT, client.setLink(name, change), 'NOT_FOUND');
}

async function remove(words: string[], { client }: Rest): Promise<void> {
  const { name } = parseName(words);
  if (name === undefined)
    throw invalid('not enough information: "dev" argument is required, as in "link del NAME"');
  await refusedWith(ABSENT_EXIT, client.deleteLink(name), 'NOT_FOUND');
}

async function show(words: string[], { client, flags, outside }: Rest): Promise<void> {
  const { name, up } = parseName(words);
  const found =
    name === undefined ? await client.links() : [await refusedWith(ABSENT_EXIT, client.link(name))];
  const devices = found.filter((device) => device.up || !up);
  const form = { details: flags.details, statistics: flags.statistics };
  outside.out(flags.json ? toJson(linkObjects(devices, form), flags.pretty) : linkText(devices, form));
}
