/**
 * `vxlane completion bash|zsh|fish`: a script for the shell to read. The words in it are those of completion-words.ts
 * and of commander's options; names of devices are read when they are needed, from the file that the daemon keeps
 * beside its socket, so that a Tab starts no process.
 */
import { objectWords, type VerbWords } from './completion-words.ts';

/** What commander knows: flags of every command, and commands that are no objects with theirs. */
export interface ProgramWords {
  flags: readonly string[];
  commands: readonly { name: string; what: string; flags: readonly string[] }[];
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

interface Entry {
  /** "link add", or "daemon". */
  path: string;
  words: readonly string[];
}

interface Table {
  flags: readonly string[];
  objects: readonly { name: string; what: string }[];
  verbs: readonly Entry[];
  words: readonly Entry[];
}

/** Words that a device of vxlane follows, and words that any interface follows. */
const BEFORE_DEVICE = ['dev', 'port', 'brport'];
const BEFORE_INTERFACE = ['via'];
/** Verbs whose first word is a device; in "link" behind "type" stands the underlay. */
const DEVICE_FIRST = ['link set', 'link del', 'link show'];

/** What may follow a word that takes one of a few. */
const VALUES: Readonly<Record<string, string>> = {
  type: 'vxlan',
  df: 'unset set inherit',
  ttl: 'auto inherit',
  tos: 'inherit',
  state: 'permanent static stale reachable',
  filter_mode: 'include exclude',
  tunnel_info: 'id',
};

async function tableOf(program: ProgramWords): Promise<Table> {
  const objects = await objectWords();
  const spelled = (verbs: readonly VerbWords[]) => verbs.map(({ verb }) => verb);
  return {
    flags: program.flags,
    objects: [...objects, ...program.commands].map(({ name, what }) => ({ name, what })),
    verbs: [
      ...objects.map(({ name, verbs }) => ({ path: name, words: [...spelled(verbs), 'help'] })),
      ...program.commands.map(({ name, flags }) => ({ path: name, words: flags })),
    ],
    words: objects.flatMap(({ name, verbs }) =>
      verbs.map(({ verb, words }) => ({ path: `${name} ${verb}`, words })),
    ),
  };
}

export async function completionScript(shell: Shell, program: ProgramWords): Promise<string> {
  const table = await tableOf(program);
  if (shell === 'fish') return fish(table);
  return shell === 'bash' ? bash(table) : zsh(table);
}

const cases = (entries: readonly Entry[], indent: string) =>
  entries
    .filter(({ words }) => words.length > 0)
    .map(({ path, words }) => `${indent}'${path}') words='${words.join(' ')}' ;;`)
    .join('\n');

/** Prints the devices of the daemon that a command would talk to, as wrap/vxlane-front finds it. */
const DEVICES = `__vxlane_devices() {
  local list='' file='' name=''
  if [ -n "$VXLANE_SOCKET" ]; then
    list="\${VXLANE_SOCKET%.sock}.devices"
  else
    for file in $(ls /run/vxlane/netns/ 2>/dev/null); do
      case $file in
        *.devices) [ /proc/self/ns/net -ef "/run/netns/\${file%.devices}" ] && list=/run/vxlane/netns/$file ;;
      esac
    done
  fi
  [ -r "$list" ] || list=/run/vxlane/vxlane.devices
  [ -r "$list" ] || return 0
  while read -r name; do
    case $name in '#'*) ;; *) printf '%s\\n' "$name" ;; esac
  done <"$list"
}`;

/** What bash and zsh share: from object, verb, the word before and the number of words behind the verb to \`words\`. */
function chooser({ objects, verbs, words }: Table): string {
  const values = Object.entries(VALUES).map(([word, value]) => `    ${word}) words='${value}'; return ;;`);
  return `__vxlane_choose() {
  local object=$1 verb=$2 before=$3 count=$4 typed=$5
  words=''
  if [ -z "$object" ]; then
    words='${objects.map(({ name }) => name).join(' ')}'
    return
  fi
  if [ -z "$verb" ]; then
    case $object in
${cases(verbs, '      ')}
    esac
    return
  fi
  case $before in
    ${BEFORE_INTERFACE.join(' | ')}) words=$(ls /sys/class/net 2>/dev/null); return ;;
    ${BEFORE_DEVICE.join(' | ')})
      if [ "$object $typed" = 'link yes' ]; then words=$(ls /sys/class/net 2>/dev/null); else words=$(__vxlane_devices); fi
      return ;;
${values.join('\n')}
  esac
  case "$object $verb" in
${cases(words, '    ')}
  esac
  case "$object $verb $count" in
    ${DEVICE_FIRST.map((path) => `'${path} 0'`).join(' | ')}) words="$(__vxlane_devices) $words" ;;
  esac
}`;
}

/** Finds object, verb and the rest among the words in front of the one that is being typed. */
const SCAN = `    case $word in
      --socket | --config | --engine | --threads | --spin | --seconds | --write | --batch | -b | --netns | -n) skip=yes ;;
      -*) ;;
      type) typed=yes; count=$((count + 1)) ;;
      *)
        if [ -z "$object" ]; then object=$word
        elif [ -z "$verb" ]; then verb=$word
        else count=$((count + 1)); fi ;;
    esac`;

function bash(table: Table): string {
  return `# vxlane: completion for bash. Read it with: source <(vxlane completion bash)
${DEVICES}
${chooser(table)}
_vxlane() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]}
  local object='' verb='' typed='' skip='' word='' words='' count=0 at
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    if [ -n "$skip" ]; then skip=''; continue; fi
${SCAN}
  done
  case $before in
    --socket | --config | --write | --batch | -b) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --netns | -n) COMPREPLY=($(compgen -W "$(ls /run/netns 2>/dev/null)" -- "$current")); return ;;
  esac
  if [ "$object" = wrap ]; then COMPREPLY=($(compgen -c -- "$current")); return; fi
  __vxlane_choose "$object" "$verb" "$before" "$count" "$typed"
  case $current in -*) words="$words ${table.flags.join(' ')}" ;; esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _vxlane vxlane
`;
}

function zsh(table: Table): string {
  return `#compdef vxlane
# vxlane: completion for zsh. Read it with: source <(vxlane completion zsh)
${DEVICES}
${chooser(table)}
_vxlane() {
  emulate -L zsh
  setopt sh_word_split
  local current=\${words[CURRENT]} before=\${words[CURRENT - 1]}
  local object='' verb='' typed='' skip='' word='' count=0 at
  local -a line
  line=("\${(@)words}")
  for ((at = 2; at < CURRENT; at++)); do
    word=\${line[at]}
    if [ -n "$skip" ]; then skip=''; continue; fi
${SCAN}
  done
  case $before in
    --socket | --config | --write | --batch | -b) _files; return ;;
  esac
  if [ "$object" = wrap ]; then _command_names; return; fi
  local words=''
  __vxlane_choose "$object" "$verb" "$before" "$count" "$typed"
  case $current in -*) words="$words ${table.flags.join(' ')}" ;; esac
  compadd -- $words
}
compdef _vxlane vxlane
`;
}

function fish({ flags, objects, verbs, words }: Table): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "\\'")}'`;
  const lines = [
    '# vxlane: completion for fish. Read it with: vxlane completion fish | source',
    `function __vxlane_devices
    set -l list /run/vxlane/vxlane.devices
    if set -q VXLANE_SOCKET
        set list (string replace -r '\\.sock$' '' -- $VXLANE_SOCKET).devices
    else
        for file in /run/vxlane/netns/*.devices
            if test /proc/self/ns/net -ef /run/netns/(basename $file .devices)
                set list $file
            end
        end
    end
    test -r $list; and string match -v '#*' <$list
end`,
    `function __vxlane_words
    set -l found
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; or set -a found $word
    end
    echo "$found"
end`,
    `function __vxlane_at
    set -l found (string split ' ' -- (__vxlane_words))
    test "$found[1..(count (string split ' ' -- $argv[1]))]" = "$argv[1]"
end`,
    `function __vxlane_behind
    contains -- (commandline -opc)[-1] $argv
end`,
    'complete -c vxlane -f',
  ];
  for (const { name, what } of objects)
    lines.push(`complete -c vxlane -n 'test -z (__vxlane_words)' -a ${name} -d ${quoted(what)}`);
  for (const { path, words: list } of verbs)
    if (list.length > 0)
      lines.push(`complete -c vxlane -n 'test (__vxlane_words) = ${path}' -a ${quoted(list.join(' '))}`);
  const behind = [...BEFORE_DEVICE, ...BEFORE_INTERFACE, ...Object.keys(VALUES)].join(' ');
  for (const { path, words: list } of words)
    if (list.length > 0)
      lines.push(
        `complete -c vxlane -n '__vxlane_at "${path}"; and not __vxlane_behind ${behind}' -a ${quoted(list.join(' '))}`,
      );
  for (const path of DEVICE_FIRST)
    lines.push(`complete -c vxlane -n 'test (__vxlane_words) = "${path}"' -a '(__vxlane_devices)'`);
  lines.push(`complete -c vxlane -n '__vxlane_behind ${BEFORE_DEVICE.join(' ')}' -a '(__vxlane_devices)'`);
  lines.push(
    `complete -c vxlane -n '__vxlane_behind dev ${BEFORE_INTERFACE.join(' ')}' -a '(path basename /sys/class/net/*)'`,
  );
  for (const [word, value] of Object.entries(VALUES))
    lines.push(`complete -c vxlane -n '__vxlane_behind ${word}' -a ${quoted(value)}`);
  for (const flag of flags) {
    const name = flag.replace(/^--?/, '');
    lines.push(`complete -c vxlane ${flag.startsWith('--') ? '-l' : '-s'} ${name}`);
  }
  return `${lines.join('\n')}\n`;
}
