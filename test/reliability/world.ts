// A base so small that a whole run takes moments, data for every task, and runs that between them hold all that a run
// may have to remember.

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseCommandLine, settingsOf } from '../../lib/cli/program.ts'
import type { Console } from '../../lib/cli/terminal/console.ts'
import type { TaskName } from '../../lib/heads/index.ts'
import type { Json } from '../../lib/io/json.ts'
import { type TensorToWrite, writeSafetensors } from '../../lib/io/safetensors.ts'
import { createModel } from '../../lib/model.ts'

const golden = (name: string) => fileURLToPath(new URL(`../golden/tokenizer/${name}.json`, import.meta.url))

const BERT = {
  model_type: 'bert',
  vocab_size: 700,
  hidden_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 16,
  max_position_embeddings: 32,
  type_vocab_size: 2,
  pad_token_id: 0,
  initializer_range: 0.3,
}
const LLAMA = {
  model_type: 'llama',
  vocab_size: 701,
  hidden_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  intermediate_size: 16,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  bos_token_id: 0,
  eos_token_id: 2,
  tie_word_embeddings: true,
}

/** Writes bases and data into a folder: `encoder`, `decoder`, and one file for each task. */
export async function makeWorld(dir: string): Promise<void> {
  await writeBase(join(dir, 'encoder'), BERT, 'masked-lm', 'wordpiece')
  await writeBase(join(dir, 'decoder'), LLAMA, 'causal-lm', 'bytelevel')
  const things = ['cat', 'dog', 'rain', 'song', 'tree', 'road']
  const words = Array.from({ length: 30 }, (_, i) => {
    return ['the', things[i % 6]!, i % 2 ? 'is' : 'was', i % 3 ? 'good' : 'bad', things[(i * 5) % 6]!]
  })
  const lines = (rows: object[]): string => rows.map(row => `${JSON.stringify(row)}\n`).join('')
  const text = (i: number) => `${words[i]!.join(' ')} ${'a '.repeat(i % 4)}`
  const of = (label: (i: number) => unknown) => lines(words.map((_, i) => ({ text: text(i), label: label(i) })))
  const files = {
    'classes.jsonl': of(i => (i % 3 ? 'good' : 'bad')),
    'labels.jsonl': of(i => ['x', 'y', 'z'].filter((_, c) => (i >> c) % 2)),
    'numbers.jsonl': of(i => i / 7 + 0.5),
    'texts.jsonl': lines(words.map((_, i) => ({ text: text(i) }))),
    'tags.conll': words
      .map(list => `${list.map((word, t) => `${word} ${t % 4 === 1 ? 'B-X' : 'O'}`).join('\n')}\n\n`)
      .join(''),
    'classes.csv': `text,label\n${words.map((_, i) => `"${text(i)}",${i % 3 ? 'good' : 'bad'}\n`).join('')}`,
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content)
}

async function writeBase(dir: string, values: Record<string, Json>, task: TaskName, tokenizer: string): Promise<void> {
  mkdirSync(dir, { recursive: true })
  const model = createModel({ path: 'config.json', modelType: String(values.model_type), values }, { task, seed: 5 })
  const tensors: TensorToWrite[] = []
  for (const [name, { tensor }] of model.parameters) {
    const data = new Uint8Array(await tensor.bytes())
    tensors.push({ name, dtype: 'F32', shape: tensor.shape, data })
  }
  await writeSafetensors(join(dir, 'model.safetensors'), tensors, { format: 'pt' })
  model.dispose()
  writeFileSync(join(dir, 'config.json'), JSON.stringify(values))
  copyFileSync(golden(tokenizer), join(dir, 'tokenizer.json'))
}

/** Something to be interrupted. */
export interface Case {
  readonly name: string
  /** Of `train`; the output is added. */
  readonly args: readonly string[]
  /** Arguments of runs that are finished before: into `start` beside the output, or the output itself. */
  readonly start?: readonly string[]
  readonly earlier?: readonly string[]
}

const quick = ['--batch-size', '8', '--epochs', '2', '--lr', '0.01', '--threads', '1', '--checkpoint-every', '2']
const bert = (data: string, ...more: string[]) => [data, '--model', 'encoder', ...quick, ...more]

export const CASES: readonly Case[] = [
  { name: 'lora', args: bert('classes.jsonl', '--dropout', '0.1', '--patience', '2', '--eval-every', '1') },
  {
    name: 'accumulation and grouping',
    args: bert('classes.csv', '--batch-size', '3', '--accumulate', '2', '--group-by-length', '--schedule', 'cosine'),
  },
  { name: '8-bit moments', args: bert('classes.jsonl', '--optimizer-states', '8bit') },
  { name: 'all weights', args: bert('classes.jsonl', '--method', 'full') },
  { name: 'all weights, 8-bit', args: bert('labels.jsonl', '--method', 'full', '--optimizer-states', '8bit') },
  { name: 'adalora', args: bert('classes.jsonl', '--method', 'adalora', '--batch-size', '4') },
  {
    name: 'checkpointed layers',
    args: bert('classes.jsonl', '--gradient-checkpointing', '--class-weights', 'balanced'),
  },
  {
    name: 'epochs and steps',
    args: bert('classes.jsonl', '--max-steps', '5', '--checkpoint-every', 'epoch', '--keep-checkpoints', '2'),
  },
  { name: 'masked language model', args: bert('texts.jsonl', '--task', 'masked-lm') },
  {
    name: 'causal language model',
    args: ['texts.jsonl', '--model', 'decoder', '--task', 'causal-lm', ...quick, '--storage', 'int8'],
  },
  { name: 'tags, dora', args: bert('tags.conll', '--method', 'dora', '--metric', 'loss') },
  { name: 'numbers, prefix', args: bert('numbers.jsonl', '--method', 'prefix', '--max-length', '12') },
  { name: 'several labels, vera', args: bert('labels.jsonl', '--method', 'vera', '--label-smoothing', '0.1') },
  {
    name: 'from an adapter',
    start: bert('classes.jsonl', '--max-steps', '1'),
    args: ['classes.jsonl', '--model', 'encoder', ...quick, '--init-from', 'start/adapter'],
  },
  {
    name: 'over an earlier run',
    earlier: bert('classes.jsonl', '--seed', '3', '--max-steps', '3'),
    args: bert('classes.jsonl', '--overwrite', '--trackers', 'jsonl'),
  },
  { name: 'no validation on the way', args: bert('classes.jsonl', '--eval-every', 'never', '--no-evaluate-before') },
]

/** What a command told beside files. */
export interface Told {
  readonly warnings: string[]
}

/** Runs `train` in this process, silently. @throws what the command does */
export async function runTrain(args: readonly string[], told: Told = { warnings: [] }): Promise<number> {
  const { trainCommand } = await import('../../lib/cli/commands/train.ts')
  const parsed = parseCommandLine(['train', ...args, '--quiet'])
  if ('text' in parsed) throw new Error(parsed.text)
  const resolved = settingsOf(parsed.command, parsed.given)
  const ignore = (): void => undefined
  const console: Console = {
    json: false,
    quiet: true,
    color: false,
    closed: false,
    columns: 80,
    line: ignore,
    text: ignore,
    event: ignore,
    note: ignore,
    warn: text => void told.warnings.push(text),
    named: text => text,
  }
  return trainCommand(resolved.settings, console, resolved)
}
