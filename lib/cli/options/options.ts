// The one table of options: flags, YAML keys, validation, --help and docs/cli.md all come from it.

import { DATA_OPTIONS } from '../../data/options.ts'
import { CODE_TYPES } from '../../io/bitsandbytesWrite.ts'
import { GGUF_TYPES } from '../../io/gguf/quantize.ts'
import type { Domain, FilledOf, Kind, Kinds, OptionRow } from '../../options.ts'
import { COMBINATIONS, METHODS } from '../../peft/index.ts'
import { SAMPLERS } from '../../study/samplers.ts'
import { ownOptions, TASK_OPTIONS } from '../../tasks/options.ts'
import { TRAIN_OPTIONS, type TrainOptionName } from '../../train/options.ts'
import { keysOf } from '../../tuple.ts'
import { GENERATION_OPTIONS } from './generation.ts'
import { methodRows } from './methods.ts'
import { COMMANDS, type Command, type More, type Option, SHELLS } from './option.ts'

type Choice = string | boolean

interface Row<N extends string, K extends Kind, D, C extends Choice> extends Domain {
  readonly name: N
  readonly kind: K
  readonly default: D
  readonly help: string
  readonly choices?: readonly C[]
  readonly more: More
}

interface Extras<C extends Choice> extends More {
  readonly choices?: readonly C[]
  readonly min?: number
  readonly max?: number
}

function o<
  const N extends string,
  const K extends Kind,
  const D extends Kinds[K] | undefined,
  const C extends Choice = never,
>(name: N, kind: K, standard: D, help: string, { choices, min, max, ...more }: Extras<C> = {}): Row<N, K, D, C> {
  const limits = { ...(choices && { choices }), ...(min !== undefined && { min }), ...(max !== undefined && { max }) }
  return { name, kind, default: standard, help, ...limits, more }
}

/** Commands that train many times: they take what train takes, but for what is of one run alone. */
const STUDIES: readonly Command[] = ['compare', 'sweep']
/** Of these a comparison takes none, since it has several of each. */
const COMPARED = ['method', 'lr']
const OF_ONE_RUN = new Set<string>([
  ...['time', 'teacherWeight', 'teacherTemperature', 'evaluateBefore', 'trackers', 'report', 'dryRun', 'initFrom'],
  ...['checkpointEvery', 'keepCheckpoints'],
])

function withStudies(name: string, commands: readonly Command[]): readonly Command[] {
  if (!commands.includes('train') || OF_ONE_RUN.has(name)) return commands
  return [...new Set([...commands, ...STUDIES])].filter(each => each !== 'compare' || !COMPARED.includes(name))
}

type Placed<R> = R & Pick<Option, 'group' | 'commands'>

function section<const R extends readonly { readonly name: string; readonly kind: Kind; readonly more: More }[]>(
  group: string,
  commands: readonly Command[],
  rows: R,
): { readonly [I in keyof R]: Placed<R[I]> } {
  const placed = rows.map(row => {
    const more = { ...row.more, ...(row.more.positional && { positional: withStudies(row.name, row.more.positional) }) }
    return { ...row, more, group, commands: withStudies(row.name, row.more.commands ?? commands) }
  })
  return placed as { readonly [I in keyof R]: Placed<R[I]> }
}

/** Rows of a table that lies where its options belong. */
function placed(group: string, commands: readonly Command[], name: string, row: OptionRow, more: More = {}): Option {
  const { kind, choices, min, max, help, found, search, instead } = row
  return {
    kind,
    ...(choices && { choices }),
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    name,
    default: row.default,
    help,
    ...(search && { search }),
    ...(instead && { instead }),
    group,
    commands: withStudies(name, more.commands ?? commands),
    more: { ...more, ...(found === undefined ? {} : { found }) },
  }
}

const learning: readonly Command[] = ['train', 'quickstart']
const planning: readonly Command[] = [...learning, 'inspect batch']
const reading: readonly Command[] = ['train', 'evaluate', 'predict', 'inspect data', 'inspect batch']
/** What finds rows in files. */
const sourcing: readonly Command[] = [...reading, 'init']
const speaking: readonly Command[] = ['generate', 'chat', 'predict']
const loading: readonly Command[] = [...speaking, 'train', 'evaluate', 'merge', 'inspect batch', 'quickstart']
const conversing: readonly Command[] = ['train', 'evaluate', 'predict', 'generate', 'chat', 'inspect batch']
const using: readonly Command[] = ['generate', 'chat', 'evaluate', 'predict', 'merge', 'convert']
const changing: readonly Command[] = ['combine', 'convert', 'diff']

/** An option of commands, which take it without its flag. */
const at = (...commands: readonly Command[]) => ({ commands, positional: commands })

const data = section('Data', sourcing, [
  o('adapter', 'path', undefined, 'Folder that train or merge wrote, or an adapter as PEFT writes it', at(...using)),
  o('adapters', 'names', undefined, 'Folders of adapters of one base', at('combine', 'diff')),
  o('ids', 'names', undefined, 'Models and adapters of the hub (owner/name, or owner/name@revision)', at('download')),
  o('runs', 'names', undefined, 'Folders of two to five finished runs, the first to compare with', at('report')),
  o(
    'data',
    'path',
    undefined,
    'File (.jsonl, .csv, .tsv, .parquet, .conll), or folder with train, validation and test files',
    at('train', 'evaluate', 'inspect data', 'inspect batch', 'init'),
  ),
  o('train', 'path', undefined, 'File of the training split, in place of data', { commands: ['train'] }),
  o('validation', 'path', undefined, 'File of the validation split', { commands: ['train'] }),
  o('test', 'path', undefined, 'File of the test split', { commands: ['train'] }),
  o('texts', 'names', undefined, 'Texts to read; else input, else the standard input', at('predict', 'generate')),
  o('input', 'path', undefined, 'Data file to predict, or any other file with one text a line; - is standard input', {
    commands: ['predict'],
  }),
  o('evaluateOn', 'choice', 'auto', 'Which split of a folder to evaluate; auto is test, else validation, else train', {
    choices: ['auto', 'train', 'validation', 'test'],
    commands: ['evaluate'],
  }),
])

const inspecting: readonly Command[] = ['train', 'inspect batch']
const every: readonly Command[] = [...sourcing, 'merge', ...changing]

/** Commands and quickstart's values of the options of data and of tasks. */
const DATA_MORE: Readonly<Record<string, More>> = {
  split: { commands: inspecting },
  duplicates: { commands: inspecting },
  rows: { commands: learning },
  task: { commands: [...every, 'inspect model'] },
  labels: { commands: every },
  maxLength: { commands: [...reading, 'quickstart'], quickstart: 48 },
  truncationSide: { commands: reading },
  template: { commands: conversing },
  thinking: { commands: conversing },
  turns: { commands: ['train', 'evaluate', 'inspect batch'] },
  maskProbability: { commands: ['train', 'evaluate', 'inspect batch'] },
}

const ofData: readonly Option[] = [...Object.entries({ ...DATA_OPTIONS, ...TASK_OPTIONS }), ...ownOptions()].map(
  ([name, row]) => placed('Data', sourcing, name, row, DATA_MORE[name]),
)

/** What may be told a base. */
const basing: readonly Command[] = [
  'init',
  ...(['train', 'evaluate', 'predict', 'generate', 'chat', 'merge', ...changing] as const),
  ...(['inspect model', 'inspect data', 'inspect batch'] as const),
]

const model = section('Model', loading, [
  o('model', 'path', undefined, 'A Hugging Face folder, its name on the hub (owner/name), or a GGUF file', {
    found: 'the bundled encoder',
    positional: ['inspect model'],
    commands: basing,
  }),
  o('revision', 'text', undefined, 'Branch, tag or commit of a base from the hub', {
    found: 'main',
    commands: [...basing, 'download'],
  }),
  o('teacher', 'path', undefined, 'A larger model of the same tokens to learn from too', { commands: ['train'] }),
  o('newHead', 'boolean', false, 'Start the classifier anew, also where the base has one', { commands: ['train'] }),
  o('tokenizer', 'path', undefined, "Folder of the tokenizer, where it is not the model's", {
    commands: ['train', 'evaluate', 'predict', 'inspect data', 'inspect batch'],
  }),
  o('device', 'text', 'cpu', 'cpu, cuda, cuda:N, or auto', {
    commands: ['train', 'evaluate', 'predict', 'quickstart', 'doctor'],
  }),
  o('storage', 'choice', undefined, 'How frozen weights are kept in memory', {
    choices: ['f32', 'bf16', 'int8', 'nf4', 'blocks'],
    found: 'f32, of a GGUF file its blocks; on CUDA as compute',
  }),
  o('compute', 'choice', undefined, 'Precision of products; sums are f32 always; tf32 on CUDA alone', {
    choices: ['f32', 'bf16', 'tf32'],
    found: 'f32; on CUDA bf16',
    commands: ['train', 'evaluate', 'predict', 'quickstart'],
  }),
])

const methodChoice = section('Method', learning, [
  o('method', 'choice', 'lora', METHODS.map(({ type, help }) => `${type} ${help}`).join('; '), {
    choices: METHODS.map(({ type }) => type),
  }),
])

const method: readonly Option[] = methodRows().map(([name, row]) => placed('Method', learning, name, row))

/** Commands and quickstart's values of the options of training. */
const TRAIN_MORE: { readonly [K in TrainOptionName]?: More & { group?: string } } = {
  epochs: { quickstart: 4 },
  batchSize: { quickstart: 32, commands: planning },
  batchTokens: { commands: planning },
  accumulate: { commands: planning },
  evalBatchSize: { commands: [...learning, 'evaluate', 'predict'], quickstart: 64 },
  lr: { quickstart: 1.4e-3 },
  seed: { commands: [...learning, ...speaking, 'evaluate', 'combine', 'inspect batch'] },
  groupByLength: { commands: planning, quickstart: true },
  dropLast: { commands: planning },
  classWeights: { commands: planning },
  checkpointEvery: { group: 'Output', commands: ['train'] },
  keepCheckpoints: { group: 'Output', commands: ['train'] },
  resume: { group: 'Output', commands: ['train'] },
  overwrite: { group: 'Output', commands: ['train', 'merge', 'combine', 'convert', 'init'] },
}

const training: readonly Option[] = keysOf(TRAIN_OPTIONS).map(name => {
  const { group = 'Training', ...more } = TRAIN_MORE[name] ?? {}
  return placed(group, learning, name, TRAIN_OPTIONS[name], more)
})

const comparing = section(
  'Study',
  ['compare'],
  [
    o('methods', 'names', ['lora', 'dora', 'full', 'head'], 'Methods to compare; all stands for every one'),
    o('seeds', 'integer', 3, 'Runs of each method at its best rate, with seeds from --seed on', {
      min: 1,
    }),
    o('lrs', 'integer', 3, 'Learning rates tried for each method, √10 apart around its own; 1 tries none', {
      min: 1,
      max: 9,
    }),
    o('budget', 'duration', undefined, 'Plan steps so that all runs end within this time (90s, 30m, 2h)', {
      found: 'no limit',
      commands: ['compare', 'sweep'],
    }),
    o('heldOut', 'path', undefined, "Texts of the base's own kind, on which its forgetting is measured", {
      found: 'texts of the test split',
    }),
  ],
)

const searching = section(
  'Study',
  ['sweep'],
  [
    o('space', 'path', undefined, 'YAML file of what is searched: lr: {from: 1e-4, to: 1e-2, scale: log}, r: [4, 8]', {
      found: 'lr, and rank and dropout where the method has them',
    }),
    o('trials', 'integer', 20, 'Trials to make', { min: 1 }),
    o('sampler', 'choice', 'tpe', 'What to try next: by what was learned, at random, or every combination', {
      choices: SAMPLERS,
    }),
    o('pruner', 'choice', 'asha', 'Which trials end early: asha goes on with the best third at 1, 3, 9 … validations', {
      choices: ['asha', 'none'],
    }),
    o('together', 'integer', 16, 'Runs that share a pass', { min: 1, commands: ['compare', 'sweep', 'sweep worker'] }),
    o('study', 'path', undefined, 'Journal of the search, study.log in its folder', { commands: ['sweep worker'] }),
  ],
)

const combining = section(
  'Combining',
  ['combine'],
  [
    o('combination', 'choice', 'cat', 'How factors are combined: cat is exact, svd the best of its rank; as in PEFT', {
      choices: COMBINATIONS,
    }),
    o('weights', 'decimals', undefined, 'Weight of each adapter, in their order', { found: 'all alike, 1 in sum' }),
    o('rank', 'integer', undefined, 'Rank of the LoRA adapter that svd or convert makes', {
      min: 1,
      found: 'the largest of the adapters',
      commands: ['combine', 'convert'],
    }),
    o('layout', 'choice', 'peft', "Whose files: plain LoRA of PEFT or mlx-lm, or AdapterHub's of bottleneck adapters", {
      choices: ['peft', 'mlx', 'adapterhub'],
      commands: ['convert'],
    }),
    o('density', 'number', 0.5, 'Share of the elements that ties, dare_… and magnitude_prune keep', {
      min: 1e-6,
      max: 1,
    }),
    o('sign', 'choice', 'total', 'Sign that ties elects: of the sum, or of the majority', {
      choices: ['total', 'frequency'],
    }),
    o('headFrom', 'path', undefined, 'The adapter whose head is taken, where several have one'),
  ],
)

const OUT_OF = { compare: 'lowrank-compare-<data>', sweep: 'lowrank-sweep-<data>' }

const output = section(
  'Output',
  ['train'],
  [
    o('out', 'path', undefined, 'Folder to write; of init and report a file, of merge and convert also a .gguf file', {
      short: 'o',
      found: 'lowrank-<data>',
      foundBy: { merge: '', combine: '', convert: '', init: 'lowrank.yaml', report: 'lowrank-report.html', ...OUT_OF },
      commands: ['train', 'quickstart', 'merge', 'combine', 'convert', 'init', 'report'],
      quickstart: 'lowrank-quickstart',
    }),
    o('type', 'choice', undefined, 'How numbers are written: nf4, fp4, int8 for bitsandbytes, others in a .gguf file', {
      choices: [...GGUF_TYPES, ...CODE_TYPES],
      found: 'floats as the base; in GGUF files f16, of an adapter f32',
      commands: ['merge', 'convert'],
    }),
    o('doubleQuant', 'boolean', false, 'Scales of nf4 and fp4 are codes of 8 bits too', { commands: ['merge'] }),
    o('maxChange', 'number', 0.5, 'Mean change of logits, in their standard deviations, that fewer bits may make', {
      min: 0,
      commands: ['merge'],
    }),
    o('initFrom', 'path', undefined, 'Start a new run from the weights of an adapter'),
    o('trackers', 'names', ['jsonl', 'tensorboard'], 'What records the run: jsonl, tensorboard, none', {
      commands: learning,
    }),
    o('report', 'boolean', true, 'Write report.html', { commands: learning }),
    o('dryRun', 'boolean', false, 'Show modules, parameters, memory, steps and one batch; train nothing', {
      commands: learning,
    }),
    o('baseline', 'boolean', false, 'Evaluate the base too and compare', { commands: ['evaluate'] }),
    o('predictions', 'path', undefined, 'Write the predictions as JSON lines', { commands: ['evaluate'] }),
    o('top', 'integer', undefined, 'Labels (or tokens) to show for each text', {
      min: 1,
      found: '1, for masked LM 5',
      commands: ['predict'],
    }),
    o('limit', 'integer', undefined, 'Rows to read or show', { min: 1, found: 'all', commands: ['inspect data'] }),
  ],
)

const numbers: readonly Option[] = Object.entries(GENERATION_OPTIONS).map(([name, row]) => {
  const commands = name === 'maxNewTokens' ? ([...speaking, 'train', 'evaluate'] as const) : speaking
  return placed('Generation', commands, name, row)
})

const generation = section('Generation', speaking, [
  o('stop', 'names', undefined, 'Strings that end a text; they are not part of it', { found: 'none' }),
  o('system', 'text', undefined, 'A system message before what is said', { found: 'none' }),
  o('generateRows', 'integer', 0, 'Rows whose answers are generated and scored too: exact match, ROUGE, BLEU, chrF', {
    min: 0,
    commands: ['train', 'evaluate'],
  }),
  o('samples', 'integer', 1, 'Texts for each prompt, each drawn anew', { min: 1, commands: ['generate'] }),
])

const general = section('General', COMMANDS, [
  o('config', 'path', undefined, 'YAML file of options in camelCase; flags win over it', {
    short: 'c',
    commands: COMMANDS.filter(name => !['doctor', 'build', 'init', 'completion'].includes(name)),
  }),
  o('shell', 'choice', undefined, 'Shell to write completion for', {
    choices: SHELLS,
    positional: ['completion'],
    commands: ['completion'],
  }),
  o('kernels', 'boolean', false, 'Check every instruction and kernel of the GPU', { commands: ['doctor'] }),
  o('threads', 'integer', undefined, 'CPU threads', { min: 1, max: 1024, found: 'LOWRANK_THREADS, else all cores' }),
  o('json', 'boolean', false, 'JSON lines on standard output, the summary last'),
  o('quiet', 'boolean', false, 'No progress and no notices', { short: 'q' }),
])

const rows = [
  ...data,
  ...model,
  ...methodChoice,
  ...comparing,
  ...searching,
  ...combining,
  ...generation,
  ...output,
  ...general,
] as const
type Rows = (typeof rows)[number]

const inGroups = (options: readonly Option[]): Option[] => {
  const groups = ['Data', 'Model', 'Method', 'Training', 'Study', 'Combining', 'Generation', 'Output', 'General']
  return groups.flatMap(name => options.filter(({ group }) => group === name))
}

/** Every option of every command. */
export const OPTIONS: readonly Option[] = inGroups([...rows, ...ofData, ...method, ...training, ...numbers])

type Tables = FilledOf<typeof TRAIN_OPTIONS> &
  FilledOf<typeof GENERATION_OPTIONS> &
  FilledOf<typeof DATA_OPTIONS> &
  FilledOf<typeof TASK_OPTIONS>

/**
 * All options by name, as a command gets them: given, else the default, else undefined where it is found out later.
 * Those of methods and of tasks alone are read by methodOptions and taskValues.
 */
export type Settings = { -readonly [K in keyof Tables]: Tables[K] } & {
  [R in Rows as R['name']]: undefined extends R['default'] ? ValueOfRow<R> | undefined : ValueOfRow<R>
}

type ValueOfRow<R> = R extends Row<string, infer K, unknown, infer C> ? ([C] extends [never] ? Kinds[K] : C) : never

/** The options a command takes, in the order of the table. */
export function optionsOf(command: Command): Option[] {
  return OPTIONS.filter(option => option.commands.includes(command))
}
