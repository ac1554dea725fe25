/** `vxlane link ...`: the words of `ip link`, carried out by the daemon. */
import { type Client, Refusal } from '../daemon/client.ts';
import { VtepError } from '../errors.ts';
import { type Command, refusedWith } from './command.ts';
import { parseAdd, parseName, parseSet } from './device-words.ts';
import { toJson } from './json.ts';
import { linkObjects, linkTable, linkTableObjects, linkText } from './link-format.ts';
import { firstMatch, INVALID_EXIT, invalid, unknownVerb } from './words.ts';

/** In the order in which `ip link` tries them. */
const VERBS = ['add', 'set', 'change', 'delete', 'show', 'lst', 'list'];

/** `ip` looks a device up by itself before it asks the kernel. */
const ABSENT_EXIT = 1;

const PORT_NOTICE = `vxlan: destination port not specified
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

async function add(words: string[], { client, outside, flags }: Rest): Promise<void> {
  const { device, up, portChosen } = parseAdd(words, flags.family);
  if (!portChosen) outside.err(PORT_NOTICE);
  const named = device.name === undefined ? { ...device, name: await freeName(client) } : device;
  // The only thing not found while adding is the underlay interface, which ip looks up among its arguments.
  const { config } = await refusedWith(INVALID_EXIT, client.addLink(named), 'NOT_FOUND');
  if (!up) return;
  try {
    await client.setLink(config.name, { up: true });
  } catch (error) {
    // One command, one outcome: a device that can't come up was not added.
    await client.deleteLink(config.name);
    throw error;
  }
}

/** As the kernel names what nobody has named. */
async function freeName(client: Client): Promise<string> {
  const taken = new Set((await client.links()).map(({ config }) => config.name));
  let number = 0;
  while (taken.has(`vxlan${number}`)) number++;
  return `vxlan${number}`;
}

async function set(words: string[], { client }: Rest): Promise<void> {
  const { name, change } = parseSet(words);
  try {
    // "link set NAME" is no change and no error.
    await client.setLink(name, change);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'NOT_FOUND') throw error;
    const isUnderlay = error.message.includes(`Cannot find device "${change.dev}"`);
    throw new VtepError(error.code, error.message, isUnderlay ? INVALID_EXIT : ABSENT_EXIT);
  }
}

async function remove(words: string[], { client }: Rest): Promise<void> {
  const { name } = parseName(words);
  if (name === undefined)
    throw invalid('Not enough information: "dev" argument is required, as in "link del NAME"');
  await refusedWith(ABSENT_EXIT, client.deleteLink(name), 'NOT_FOUND');
}

async function show(words: string[], { client, flags, outside }: Rest): Promise<void> {
  const { name, up } = parseName(words);
  const found =
    name === undefined ? await client.links() : [await refusedWith(ABSENT_EXIT, client.link(name))];
  const devices = found.filter((device) => device.up || !up);
  const { brief, json, pretty, ...form } = flags;
  if (json) outside.out(toJson(brief ? linkTableObjects(devices) : linkObjects(devices, form), pretty));
  else outside.out(brief ? linkTable(devices) : linkText(devices, form));
}
