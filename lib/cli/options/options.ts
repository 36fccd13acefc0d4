// The one table of options: flags, YAML keys, validation, --help and docs/cli.md all come from it.

import { TASKS } from '../../heads/head.ts'
import { STATES } from '../../optim/arena.ts'
import { SCHEDULES } from '../../optim/schedule.ts'
import { COMMANDS, type Command, type Kind, type Kinds, type More, type Option } from './option.ts'

interface Row<N extends string, K extends Kind, D> {
  readonly name: N
  readonly kind: K
  readonly default: D
  readonly help: string
  readonly more: More
}

function o<const N extends string, const K extends Kind, const D extends Kinds[K] | undefined>(
  name: N,
  kind: K,
  standard: D,
  help: string,
  more: More = {},
): Row<N, K, D> {
  return { name, kind, default: standard, help, more }
}

type Placed<R> = R & Pick<Option, 'group' | 'commands'>

function section<const R extends readonly Row<string, Kind, unknown>[]>(
  group: string,
  commands: readonly Command[],
  rows: R,
): { readonly [I in keyof R]: Placed<R[I]> } {
  const placed = rows.map(row => ({ ...row, group, commands: row.more.commands ?? commands }))
  return placed as unknown as { readonly [I in keyof R]: Placed<R[I]> }
}

const learning: readonly Command[] = ['train', 'quickstart']
const planning: readonly Command[] = [...learning, 'inspect batch']
const reading: readonly Command[] = ['train', 'evaluate', 'predict', 'inspect data', 'inspect batch']
const loading: readonly Command[] = ['train', 'evaluate', 'predict', 'merge', 'inspect batch', 'quickstart']
const using: readonly Command[] = ['evaluate', 'predict', 'merge']

const data = section('Data', reading, [
  o('adapter', 'path', undefined, 'Folder that train or merge wrote, or an adapter as PEFT writes it', {
    positional: using,
    commands: using,
  }),
  o('data', 'path', undefined, 'File (.jsonl, .csv, .tsv, .conll), or folder with train, validation and test files', {
    positional: ['train', 'evaluate', 'inspect data', 'inspect batch'],
    commands: ['train', 'evaluate', 'inspect data', 'inspect batch'],
  }),
  o('train', 'path', undefined, 'File of the training split, in place of data', { commands: ['train'] }),
  o('validation', 'path', undefined, 'File of the validation split', { commands: ['train'] }),
  o('test', 'path', undefined, 'File of the test split', { commands: ['train'] }),
  o('texts', 'names', undefined, 'Texts to predict; without them and without input, lines of the standard input', {
    positional: ['predict'],
    commands: ['predict'],
  }),
  o('input', 'path', undefined, 'Data file to predict, or any other file with one text a line; - is standard input', {
    commands: ['predict'],
  }),
  o('format', 'choice', undefined, 'Layout of the data; text is one text a line', {
    choices: ['jsonl', 'csv', 'tsv', 'conll', 'text'],
    found: 'by the extension',
  }),
  o('delimiter', 'text', undefined, 'Character between fields of a .csv or .tsv file', { found: 'comma or tab' }),
  o('columns', 'texts', undefined, 'Columns by part: text, text2, label, tokens, tags (label=stars,text=review)', {
    found: 'by the usual names',
  }),
  o('task', 'choice', undefined, 'What is learned', {
    choices: TASKS,
    found: 'by the columns and labels',
    commands: [...reading, 'merge', 'inspect model'],
  }),
  o('labels', 'names', undefined, 'Label names in the order of their ids', {
    found: 'those of the data, sorted',
    commands: [...reading, 'merge'],
  }),
  o('maxLength', 'integer', undefined, 'Most tokens of a sequence, special tokens included', {
    min: 3,
    found: "the model's limit, at most 512",
    commands: [...reading, 'quickstart'],
    quickstart: 48,
  }),
  o('split', 'text', '0.8/0.1/0.1', 'Shares of train, validation and test, where the data bring no splits', {
    commands: ['train', 'inspect batch'],
  }),
  o('evaluateOn', 'choice', 'auto', 'Which split of a folder to evaluate; auto is test, else validation, else train', {
    choices: ['auto', 'train', 'validation', 'test'],
    commands: ['evaluate'],
  }),
  o('duplicates', 'choice', 'report', 'What to do with texts that stand in two splits', {
    choices: ['report', 'drop', 'move'],
    commands: ['train', 'inspect batch'],
  }),
  o('rows', 'integer', undefined, 'Take only so many training rows, stratified by the seed', {
    min: 1,
    found: 'all',
    commands: learning,
  }),
  o('maskProbability', 'number', 0.15, 'Share of tokens hidden for masked LM', {
    min: 0.01,
    max: 1,
    commands: ['train', 'evaluate', 'inspect batch'],
  }),
])

const model = section('Model', loading, [
  o('model', 'path', undefined, 'Hugging Face folder of the base: config.json, safetensors, tokenizer.json', {
    found: 'the bundled encoder',
    positional: ['inspect model'],
    commands: ['train', 'evaluate', 'predict', 'merge', 'inspect model', 'inspect data', 'inspect batch'],
  }),
  o('tokenizer', 'path', undefined, "Folder of the tokenizer, where it is not the model's", {
    commands: ['train', 'evaluate', 'predict', 'inspect data', 'inspect batch'],
  }),
  o('device', 'text', 'cpu', 'cpu, cuda, cuda:N, or auto', {
    commands: ['train', 'evaluate', 'predict', 'quickstart', 'doctor'],
  }),
  o('storage', 'choice', undefined, 'How frozen weights are kept in memory', {
    choices: ['f32', 'bf16', 'int8', 'nf4'],
    found: 'f32; on CUDA as compute',
  }),
  o('compute', 'choice', undefined, 'Precision of products; sums are f32 always; tf32 on CUDA alone', {
    choices: ['f32', 'bf16', 'tf32'],
    found: 'f32; on CUDA bf16',
    commands: ['train', 'evaluate', 'predict', 'quickstart'],
  }),
])

const method = section('Method', learning, [
  o('method', 'choice', 'lora', 'lora trains low-rank factors beside frozen weights, full trains all weights', {
    choices: ['lora', 'full'],
  }),
  o('r', 'integer', 8, 'Rank of the factors', { min: 1, quickstart: 8 }),
  o('alpha', 'number', undefined, 'The update is scaled by alpha / r', { found: '8', quickstart: 16 }),
  o('dropout', 'number', 0, 'Dropout on the input of the factors', { min: 0, max: 0.996 }),
  o('targetModules', 'pattern', undefined, 'Names or path ends, all-linear, or one regular expression', {
    found: "the family's (query, value for BERT)",
    quickstart: 'all-linear',
  }),
  o('excludeModules', 'pattern', undefined, 'Modules to leave out, as targetModules'),
  o('layersToTransform', 'integers', undefined, 'Only these layers, counted from 0', { found: 'all' }),
  o('layersPattern', 'names', undefined, 'Path segment before the layer number'),
  o('rankPattern', 'numbers', undefined, 'Other ranks by module (value=16)'),
  o('alphaPattern', 'numbers', undefined, 'Other alphas by module'),
  o('modulesToSave', 'names', undefined, 'Modules trained whole and saved with the adapter, the head aside', {
    found: 'those the checkpoint lacks',
  }),
  o('bias', 'choice', 'none', 'Biases that are trained', { choices: ['none', 'all', 'lora_only'] }),
  o('useRslora', 'boolean', false, 'Scale by alpha / √r'),
  o('exact', 'boolean', true, "The adapter's products at f32 accuracy beside bf16 activations"),
  o('initLoraWeights', 'choice', true, 'How A and B begin; true is uniform A and B zero', {
    choices: [true, 'gaussian', false],
  }),
  o('regularizer', 'number', 0, 'Weight of a penalty on the factors', { min: 0 }),
  o('regularizerKind', 'choice', 'l2', 'l2 keeps the factors small, orth near orthogonal', { choices: ['l2', 'orth'] }),
])

const training = section('Training', learning, [
  o('epochs', 'integer', 3, 'Passes over the training split', { min: 1, quickstart: 6 }),
  o('maxSteps', 'integer', undefined, 'Stop after so many optimizer steps', { min: 1, found: 'all epochs' }),
  o('batchSize', 'integer', 16, 'Sequences of a micro-batch', { min: 1, quickstart: 32, commands: planning }),
  o('accumulate', 'integer', 1, 'Micro-batches of an optimizer step', { min: 1, commands: planning }),
  o('evalBatchSize', 'integer', undefined, 'Sequences of an evaluation batch', {
    min: 1,
    found: 'batchSize',
    commands: [...learning, 'evaluate', 'predict'],
    quickstart: 64,
  }),
  o('lr', 'number', undefined, 'Peak learning rate', {
    min: 0,
    found: '5e-4 for lora, 5e-5 for full',
    quickstart: 2e-3,
  }),
  o('schedule', 'choice', 'linear', 'Course of the learning rate after the warm-up', { choices: SCHEDULES }),
  o('warmup', 'number', 0.06, 'Steps of warm-up, or below 1 their share', { min: 0 }),
  o('weightDecay', 'number', 0.01, 'Decoupled weight decay; biases and norms have none', { min: 0 }),
  o('clip', 'number', 1, 'Largest gradient norm; 0 is off', { min: 0 }),
  o('beta1', 'number', 0.9, 'Decay of the first moment', { min: 0, max: 0.999999 }),
  o('beta2', 'number', 0.999, 'Decay of the second moment', { min: 0, max: 0.999999 }),
  o('eps', 'number', 1e-8, 'Added to the root of the second moment', { min: 1e-30 }),
  o('optimizerStates', 'choice', 'f32', "AdamW's moments: 8bit takes a quarter of the memory of f32", {
    choices: STATES,
  }),
  o('seed', 'integer', 42, 'Keys the split, data order, initial values and dropout', {
    min: 0,
    commands: [...learning, 'evaluate', 'inspect batch'],
  }),
  o('groupByLength', 'boolean', false, 'Put sequences of like length into one micro-batch', {
    commands: planning,
    quickstart: true,
  }),
  o('dropLast', 'boolean', false, 'Leave out a last step that is not full', { commands: planning }),
  o('labelSmoothing', 'number', 0, 'Share of the target spread over all classes', { min: 0, max: 0.999 }),
  o('classWeights', 'weights', undefined, 'balanced, or one weight a class', { found: 'none', commands: planning }),
  o('evaluateBefore', 'boolean', true, 'Evaluate before training, for the before/after table'),
  o('evalEvery', 'every', 'epoch', 'Validate every epoch, never, or every so many steps'),
  o('metric', 'text', undefined, 'Validation metric that picks the best step', {
    found: 'accuracy, f1 or loss, by the task',
  }),
  o('patience', 'integer', 0, 'Stop after so many evaluations without a better one; 0 is never', { min: 0 }),
])

const output = section(
  'Output',
  ['train'],
  [
    o('out', 'path', undefined, 'Folder to write', {
      short: 'o',
      found: 'lowrank-<data>',
      commands: ['train', 'quickstart', 'merge'],
      quickstart: 'lowrank-quickstart',
    }),
    o('overwrite', 'boolean', false, 'Replace a run that stands in the folder', { commands: ['train', 'merge'] }),
    o(
      'resume',
      'pathOrTrue',
      false,
      'Continue the run in the output folder (or from a checkpoint): same data and settings',
    ),
    o('initFrom', 'path', undefined, 'Start a new run from the weights of an adapter'),
    o('checkpointEvery', 'every', 'epoch', 'Save every epoch, never, or every so many steps'),
    o('keepCheckpoints', 'integer', 1, 'Checkpoints to keep beside the best', { min: 1 }),
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

const general = section('General', COMMANDS, [
  o('config', 'path', undefined, 'YAML file of options in camelCase; flags win over it', {
    short: 'c',
    commands: COMMANDS.filter(name => name !== 'doctor' && name !== 'build'),
  }),
  o('kernels', 'boolean', false, 'Check every instruction and kernel of the GPU', { commands: ['doctor'] }),
  o('threads', 'integer', undefined, 'CPU threads', { min: 1, max: 1024, found: 'LOWRANK_THREADS, else all cores' }),
  o('json', 'boolean', false, 'JSON lines on standard output, the summary last'),
  o('quiet', 'boolean', false, 'No progress and no notices', { short: 'q' }),
])

const rows = [...data, ...model, ...method, ...training, ...output, ...general] as const
type Rows = (typeof rows)[number]

/** Every option of every command. */
export const OPTIONS: readonly Option[] = rows

/** All options by name, as a command gets them: given, else the default, else undefined where it is found out later. */
export type Settings = {
  [R in Rows as R['name']]: undefined extends R['default'] ? Kinds[R['kind']] | undefined : Kinds[R['kind']]
}

/** The options a command takes, in the order of the table. */
export function optionsOf(command: Command): Option[] {
  return OPTIONS.filter(option => option.commands.includes(command))
}
