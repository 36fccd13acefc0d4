// --help and docs/cli.md, written from the option table.

import { describeKind, type Search } from '../../options.ts'
import { must } from '../../tuple.ts'
import { displayWidth } from '../terminal/table.ts'
import { COMMON, EXAMPLES } from './examples.ts'
import { COMMANDS, type Command, flagOf, type Option } from './option.ts'
import { OPTIONS, optionsOf } from './options.ts'

/** What each command is for, and its places. */
export const SUMMARIES: Readonly<Record<Command, string>> = {
  train: 'Fine-tune a model on labelled text, measured before and after',
  evaluate: 'Measure a trained adapter on data',
  predict: 'Labels, entities, masked words or answers of texts',
  generate: 'What a language model says to texts, as it says it',
  chat: 'Talk to a language model in the terminal',
  merge: 'Write base and adapter as one model: a Hugging Face folder, or a .gguf file',
  compare: 'Train several methods alike, each at its best learning rate, and set them side by side',
  sweep: 'Search options for the best validation score, by TPE with early ends, in any number of processes',
  'sweep worker': 'Take trials of a search that another process began',
  combine: 'Make one LoRA adapter of several of the same base',
  convert: 'Write a mergeable adapter as plain LoRA with the error of each layer, bottlenecks as AdapterHub does',
  diff: 'How far two adapters of the same base are apart, layer by layer',
  report: 'Lay finished runs over each other: scores, curves, costs, settings that differ, as one page',
  download: 'Fetch models and adapters of the Hugging Face hub into the cache that Python uses too',
  'inspect model': 'Architecture, parameters and modules of a model folder',
  'inspect data': 'Columns, labels, lengths and duplicates of a data file',
  'inspect batch': 'The first training batch as the model sees it, coloured by loss weight',
  doctor: 'What this installation can do: addon, instruction set, threads, CUDA, self-test',
  build: 'Build the addon from source, where no prebuilt one fits; says what it lacks',
  init: 'Write a commented config file for data',
  completion: 'Print a script that completes commands in bash, zsh or fish',
  quickstart: 'Fine-tune the bundled encoder on the bundled sample in about two minutes',
}

/** Places on the command line, e.g. `ADAPTER DATA`. */
export function usageOf(command: Command): string {
  const places = optionsOf(command).filter(option => option.more.positional?.includes(command))
  const words = places.map(({ name, kind }) =>
    kind === 'names' ? `[${name.slice(0, -1).toUpperCase()}…]` : `[${name.toUpperCase()}]`,
  )
  return ['lowrank', command, ...words, '[options]'].join(' ')
}

/** `-o, --out <path>`; switches that are on by default show their negation. */
function flagText(option: Option): string {
  const { name, kind, more } = option
  const flag = flagOf(name)
  if (kind === 'boolean') return `${short(more.short)}${option.default === true ? `--no-${flag.slice(2)}` : flag}`
  return `${short(more.short)}${flag} ${kind === 'pathOrTrue' ? '[path]' : `<${placeholder(option)}>`}`
}

function short(letter: string | undefined): string {
  return letter === undefined ? '' : `-${letter}, `
}

function placeholder({ kind, choices }: Option): string {
  if (choices && choices.join('|').length <= 80) return choices.join('|')
  const words: Partial<Record<Option['kind'], string>> = {
    integer: 'n',
    number: 'x',
    numbers: 'name=n,…',
    texts: 'name=name,…',
    names: 'name,…',
    integers: 'n,…',
    decimals: 'x,…',
    pattern: 'name,…',
    every: 'epoch|never|n',
    weights: 'balanced|x,…',
    duration: '2m',
    choice: 'name',
  }
  return words[kind] ?? kind
}

function standardText(option: Option, command: Command): string {
  const { more, default: value } = option
  const own = command === 'quickstart' ? (more.quickstart ?? value) : value
  if (own === undefined) return more.foundBy?.[command] ?? more.found ?? ''
  if (option.kind === 'boolean') return own === true ? 'on' : ''
  return Array.isArray(own) ? own.join(',') : String(own)
}

function grouped(options: readonly Option[]): Map<string, Option[]> {
  const groups = new Map<string, Option[]>()
  for (const option of options) groups.set(option.group, [...(groups.get(option.group) ?? []), option])
  return groups
}

/** The help of one command. */
export function commandHelp(command: Command, columns = 100): string {
  const lines = [`${SUMMARIES[command]}.`, '', `Usage: ${usageOf(command)}`, '', 'Examples:']
  lines.push(...EXAMPLES[command].map(example => `  ${example}`))
  const all = optionsOf(command)
  const common = (COMMON[command] ?? []).map(name =>
    must(
      all.find(option => option.name === name),
      'match',
    ),
  )
  if (common.length > 0) lines.push('', 'Most used:', ...common.flatMap(option => entry(option, command, columns)))
  for (const [group, options] of grouped(all.filter(option => !common.includes(option)))) {
    lines.push('', `${group}:`)
    for (const option of options) lines.push(...entry(option, command, columns))
  }
  return `${lines.join('\n')}\n`
}

const indent = 34

function entry(option: Option, command: Command, columns: number): string[] {
  const standard = standardText(option, command)
  const text = `${option.help}${standard === '' ? '' : ` (${standard})`}`
  const flag = `  ${flagText(option)}`
  const wrapped = wrap(text, Math.max(30, columns - indent))
  const first = displayWidth(flag) < indent - 1 ? `${flag.padEnd(indent)}${wrapped.shift()}` : flag
  return [first, ...wrapped.map(line => ' '.repeat(indent) + line)]
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && displayWidth(line) + displayWidth(word) >= width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

/** The help of the program. */
export function programHelp(): string {
  const rows = COMMANDS.map(command => `  ${command.padEnd(16)}${SUMMARIES[command]}`)
  return [
    'lowrank: LoRA fine-tuning of Hugging Face transformers in Node.',
    '',
    'Usage: lowrank COMMAND [options]',
    '',
    ...rows,
    '',
    'lowrank COMMAND --help lists the options of a command, as does lowrank help COMMAND. `lowrank train data.jsonl` needs none.',
    '',
  ].join('\n')
}

/** docs/cli.md. */
export function cliDocs(): string {
  const lines = [
    '# Command line',
    '',
    'This page is written from the option table (lib/cli/options/options.ts) by `UPDATE_DOCS=1 node --import tsx test/cli/docs.test.ts`.',
    'Every option is a flag (`--batch-size 32`) and a key of a YAML file (`batchSize: 32`) that `--config` names.',
    'Flags win over the file, the file over defaults. Paths are relative to the working directory.',
    'Switches take `--name` and `--no-name`.',
    '',
    'Results go to standard output, progress and notices to standard error. With `--json` every line on standard',
    'output is one JSON object and the last is the summary.',
    '',
    'A run marks its output folder with `.lowrank-run.json`, which lists what it made. Nothing else in the folder is ever',
    'removed: a file of another origin under a name that runs use is an error, and so are data, base and start adapter',
    'inside the folder. With `--overwrite` the earlier run stays in place until the new one is complete. One process at a',
    'time writes a folder; the lock of a dead one is taken over.',
    '',
    '| exit code | meaning |',
    '|---|---|',
    '| 0 | done |',
    '| 1 | failed, with `error CODE: message` on standard error; `LOWRANK_DEBUG=1` adds the stack |',
    '| 2 | the command line or the YAML file is wrong |',
    '| 130 | interrupted; `train` has saved a checkpoint and says how to resume |',
    '',
    '| command | purpose |',
    '|---|---|',
    ...COMMANDS.map(command => `| \`${usageOf(command)}\` | ${SUMMARIES[command]} |`),
  ]
  for (const [group, options] of grouped(OPTIONS)) {
    lines.push(
      '',
      `## ${group}`,
      '',
      '| flag | key | kind | default | what it is | commands |',
      '|---|---|---|---|---|---|',
    )
    for (const option of options) lines.push(docsRow(option))
  }
  return `${[...lines, ...searchDocs()].join('\n')}\n`
}

/** Where options may be searched, as a table. */
function searchDocs(): string[] {
  const rows = OPTIONS.flatMap(({ name, search }) => (search ? [`| \`${name}\` | ${searchText(search)} |`] : []))
  const head = 'Where better values than the defaults may lie (`searchSpace` gives them to code):'
  return ['', '## Search', '', head, '', '| key | values |', '|---|---|', ...rows]
}

function searchText(search: Search): string {
  if ('values' in search) return search.values.join(', ')
  return `${search.from} to ${search.to}${search.scale === 'log' ? ', evenly by their logarithms' : ''}`
}

function docsRow(option: Option): string {
  const { name, help, commands, more } = option
  const flag = more.short === undefined ? flagOf(name) : `${flagOf(name)}\`, \`-${more.short}`
  const quick = more.quickstart === undefined ? '' : `; quickstart ${String(more.quickstart)}`
  const isSwitch = option.kind === 'boolean' && more.found === undefined
  const standard = isSwitch ? (option.default ? 'on' : 'off') : standardText(option, 'train') || '–'
  const where = commands.length === COMMANDS.length ? 'all' : commands.join(', ')
  const cells = [`\`${flag}\``, `\`${name}\``, describeKind(option), standard + quick, help, where]
  return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
}
