// Everything that lowrank reads from disks of others, each with a file that it takes as it is.

import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { resolveSettings } from '../../lib/cli/options/settings.ts'
import { RunFolder } from '../../lib/cli/runFolder.ts'
import { visible } from '../../lib/cli/terminal/visible.ts'
import { lockFolder } from '../../lib/io/lock.ts'
import { machine } from '../../lib/io/process.ts'
import { openCheckpoint } from '../../lib/io/safetensors.ts'
import { loadModel } from '../../lib/model.ts'
import { loadAdapter, readAdapterInfo } from '../../lib/peft/index.ts'
import type { Random } from '../../lib/random.ts'
import { prepareData } from '../../lib/tasks/prepare.ts'
import { loadTokenizer, type Tokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { GGUF_READERS } from './ggufReaders.ts'
import { mutateBytes, mutateJson } from './mutate.ts'
import { STUDY_READERS } from './studyReaders.ts'
import { runTrain } from './world.ts'

export type Mutate = (bytes: Uint8Array, rng: Random, others: readonly Uint8Array[]) => Uint8Array

/** A kind of file and who reads it. */
export interface Reader {
  readonly name: string
  /** Files that are as they should be, below a folder that `prepare` made; one of them is changed. */
  readonly files: readonly string[]
  readonly mutate: Mutate
  /** Makes the folder. */
  prepare(dir: string): Promise<void> | void
  /** Reads it, all the way to what is made of it. */
  read(dir: string): Promise<void> | void
  /** How often it is called, relative to others; slow ones less. */
  readonly share?: number
}

const golden = (path: string) => fileURLToPath(new URL(`../golden/${path}`, import.meta.url))
const text = "Größe  don't [MASK] 12,345 👍🏽 日本 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"
const LIMIT = 5_000_000

let wordpiece: Tokenizer | undefined

/** A tokenizer that knows how conversations are written. */
async function talker(): Promise<Tokenizer> {
  mkdirSync('talker', { recursive: true })
  cpSync(golden('tokenizer/wordpiece.json'), 'talker/tokenizer.json')
  const template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '[SEP]' }}{% endfor %}"
  writeFileSync('talker/tokenizer_config.json', JSON.stringify({ chat_template: template }))
  return loadTokenizer('talker')
}

/** Data of a file in a format. */
function data(
  name: string,
  source: string,
  pack = (bytes: Buffer): Uint8Array => bytes,
  mutate: Mutate = mutateBytes,
): Reader {
  return {
    name,
    files: [name],
    mutate,
    prepare: dir => writeFileSync(join(dir, name), pack(Buffer.from(source))),
    async read(dir) {
      wordpiece ??= await talker()
      await prepareData(join(dir, name), wordpiece, { maxLength: 16 })
    },
  }
}

const rows = Array.from({ length: 12 }, (_, i) => ({ text: `the ${i} cat is good`, label: i % 2 ? 'a' : 'b' }))
const lists = rows.map(({ text }, i) => ({
  tokens: text.split(' '),
  ner_tags: text.split(' ').map((_, t) => (t === i % 4 ? 'B-X' : 'O')),
}))
const lines = (list: readonly object[]) => list.map(row => `${JSON.stringify(row)}\n`).join('')
const table = (sign: string) => `text${sign}label\n${rows.map(row => `"${row.text}"${sign}${row.label}\n`).join('')}`
const conll = lists
  .map(row => `${row.tokens.map((word, t) => `${word}\tNN\t${row.ner_tags[t]}`).join('\n')}\n\n`)
  .join('')
const talks = rows.map(({ text, label }) => {
  return {
    messages: [
      { role: 'user', content: text },
      { role: 'assistant', content: label },
    ],
  }
})
const yaml = `data: &d a.csv
method: lora
r: 4
lr: 0.001
columns: {text: review, label: stars}
labels: [a, b, 'c: d']
targetModules: [query, value]
schedule: >-
  cosine
`

const tokenizerFolder = (dir: string, name: string): void => {
  cpSync(golden(`tokenizer/${name}.json`), join(dir, 'tokenizer.json'))
  const config = {
    tokenizer_class: name === 'wordpiece' ? 'BertTokenizer' : 'RobertaTokenizer',
    do_lower_case: true,
    model_max_length: 512,
    padding_side: 'right',
    truncation_side: 'left',
    chat_template: "{% for m in messages %}{{ m['role'] + ': ' + m.content | trim }}{% endfor %}",
    added_tokens_decoder: name === 'wordpiece' ? { 4: { content: '[MASK]', special: true, lstrip: false } } : {},
  }
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify(config))
  writeFileSync(
    join(dir, 'special_tokens_map.json'),
    JSON.stringify(name === 'wordpiece' ? { mask_token: { content: '[MASK]' }, pad_token: '[PAD]' } : {}),
  )
}

async function readTokenizer(dir: string): Promise<void> {
  const tokenizer = await loadTokenizer(dir)
  const { ids } = tokenizer.encode(text, { pair: text, maxLength: 40 })
  tokenizer.encodeWords(text.split(' '))
  tokenizer.decode(ids)
  tokenizer.chatTemplate?.render([
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'ho' },
  ])
}

async function readModel(dir: string): Promise<void> {
  const names = readdirSync(dir)
  const model = await loadModel(dir, { task: names.includes('lm') ? 'causal-lm' : 'sequence-classification' })
  model.dispose()
}

function model(name: string, base: string, file: string, mutate: Mutate, isLm = false): Reader {
  return {
    name,
    files: [file],
    mutate,
    prepare(dir) {
      for (const each of ['config.json', 'model.safetensors']) cpSync(golden(`models/${base}/${each}`), join(dir, each))
      if (isLm) writeFileSync(join(dir, 'lm'), '')
    },
    read: readModel,
  }
}

/** The header of a safetensors file as JSON, with its length put right. */
const mutateHeader: Mutate = (bytes, rng, others) => {
  if (rng.below(3) === 0) return mutateBytes(bytes, rng, others)
  const all = Buffer.from(bytes)
  const end = 8 + Number(all.readBigUInt64LE())
  const header = mutateJson(all.subarray(8, end), rng, others)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([length, header, all.subarray(end)])
}

/** Of files in a folder: JSON by its first byte, else `other`. */
const jsonOr =
  (other: Mutate): Mutate =>
  (bytes, rng, others) =>
    bytes[0] === 123 ? mutateJson(bytes, rng, others) : other(bytes, rng, others)

const adapterFiles = ['adapter_config.json', 'adapter_model.safetensors']

/** Files of a checkpoint, with the hashes in the manifest made right, so that what follows is read too. */
function sealed(dir: string): void {
  const path = join(dir, 'manifest.json')
  try {
    const { sha256: _, ...body } = JSON.parse(readFileSync(path, 'utf8'))
    for (const name of Object.keys(body.files)) {
      const bytes = readFileSync(join(dir, name))
      body.files[name] = { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
    }
    const sha256 = createHash('sha256').update(JSON.stringify(body)).digest('hex')
    writeFileSync(path, JSON.stringify({ ...body, sha256 }))
  } catch {
    // A manifest that is none stays as it is.
  }
}

/** A checkpoint of a small run, continued from after one of its files was changed. */
function checkpoint(method: string): Reader {
  const args = (dir: string) => [
    'classes.jsonl',
    '--model',
    'encoder',
    '--method',
    method,
    '--batch-size',
    '8',
    '--max-steps',
    '2',
    '--threads',
    '1',
    '--no-report',
    '--trackers',
    'none',
    '--optimizer-states',
    '8bit',
    '--out',
    join(dir, 'out'),
  ]
  const at = 'out/checkpoints/checkpoint-2'
  const names = ['state.json', 'manifest.json', 'trainable.safetensors', 'optimizer.safetensors', 'before.safetensors']
  const all = method === 'adalora' ? [...names, 'method.safetensors'] : names
  return {
    name: `checkpoint (${method})`,
    files: all.map(name => `${at}/${name}`),
    share: 0.2,
    mutate: jsonOr(mutateHeader),
    prepare: async dir => void (await runTrain(args(dir))),
    async read(dir) {
      sealed(join(dir, at))
      await runTrain([...args(dir), '--resume'])
    },
  }
}

export const READERS: readonly Reader[] = [
  data('rows.csv', table(',')),
  data('rows.tsv', table('\t')),
  data('rows.jsonl', lines(rows)),
  data('talks.jsonl', lines(talks)),
  data('array.json', JSON.stringify(rows), undefined, mutateJson),
  data('words.json', JSON.stringify(lists), undefined, mutateJson),
  data('packed.csv.gz', table(','), gzipSync),
  data('rows.parquet', '', () => readFileSync(golden('data/rows.parquet'))),
  data('tags.conll', conll),
  {
    name: 'config.yaml',
    files: ['config.yaml'],
    mutate: mutateBytes,
    prepare: dir => writeFileSync(join(dir, 'config.yaml'), yaml),
    read: dir => void resolveSettings('train', { config: join(dir, 'config.yaml') }),
  },
  ...(['wordpiece', 'bytelevel'] as const).map(
    (name): Reader => ({
      name: `tokenizer.json (${name})`,
      files: ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'],
      mutate: mutateJson,
      prepare: dir => tokenizerFolder(dir, name),
      read: readTokenizer,
    }),
  ),
  {
    name: 'vocab.txt',
    files: ['vocab.txt', 'tokenizer_config.json'],
    mutate: jsonOr(mutateBytes),
    prepare(dir) {
      tokenizerFolder(dir, 'wordpiece')
      const { vocab } = JSON.parse(readFileSync(join(dir, 'tokenizer.json'), 'utf8')).model
      writeFileSync(join(dir, 'vocab.txt'), Object.keys(vocab).join('\n'))
      rmSync(join(dir, 'tokenizer.json'))
    },
    read: readTokenizer,
  },
  {
    name: 'vocab.json and merges.txt',
    files: ['vocab.json', 'merges.txt'],
    mutate: jsonOr(mutateBytes),
    prepare(dir) {
      const { vocab, merges } = JSON.parse(readFileSync(golden('tokenizer/bytelevel.json'), 'utf8')).model
      writeFileSync(join(dir, 'vocab.json'), JSON.stringify(vocab))
      writeFileSync(
        join(dir, 'merges.txt'),
        (merges as (string | string[])[]).map(one => (Array.isArray(one) ? one.join(' ') : one)).join('\n'),
      )
    },
    read: readTokenizer,
  },
  model('config.json (bert)', 'bert-seq', 'config.json', mutateJson),
  model('config.json (modernbert)', 'modernbert-seq', 'config.json', mutateJson),
  model('config.json (llama)', 'llama-lm-llama3', 'config.json', mutateJson, true),
  model('config.json (gpt2)', 'gpt2-lm', 'config.json', mutateJson, true),
  model('model.safetensors', 'bert-seq', 'model.safetensors', mutateHeader),
  {
    name: 'pytorch_model.bin',
    files: ['pytorch_model.bin'],
    mutate: (bytes, rng, others) => {
      // The pickle and the list of the zip, at its ends, are where the sense is.
      const [start, end] = rng.below(2) ? [0, 700] : [bytes.length - 1200, bytes.length]
      return Buffer.concat([
        bytes.subarray(0, start),
        mutateBytes(bytes.subarray(start, end), rng, others),
        bytes.subarray(end),
      ])
    },
    prepare: dir => cpSync(golden('io/state.bin'), join(dir, 'pytorch_model.bin')),
    read(dir) {
      const file = openCheckpoint(dir)
      try {
        for (const name of file.names()) if (file.info(name).end - file.info(name).begin < LIMIT) file.read(name)
      } finally {
        file.close()
      }
    },
  },
  {
    name: 'index of shards',
    files: ['pytorch_model.bin.index.json'],
    mutate: mutateJson,
    prepare(dir) {
      cpSync(golden('io/state.bin'), join(dir, 'pytorch_model-00001-of-00001.bin'))
      const index = {
        weight_map: { bias: 'pytorch_model-00001-of-00001.bin', half: 'pytorch_model-00001-of-00001.bin' },
      }
      writeFileSync(join(dir, 'pytorch_model.bin.index.json'), JSON.stringify(index))
    },
    read(dir) {
      const file = openCheckpoint(dir)
      for (const name of file.names()) file.read(name)
      file.close()
    },
  },
  ...(['bert-seq-modules-to-save', 'bert-seq-regex'] as const).map(
    (name): Reader => ({
      name: `adapter (${name})`,
      files: adapterFiles.concat('lowrank.json'),
      mutate: jsonOr(mutateHeader),
      prepare(dir) {
        for (const each of adapterFiles) cpSync(golden(`adapters/${name}/${each}`), join(dir, each))
        const info = {
          format: 1,
          method: 'lora',
          modelType: 'bert',
          labels: ['a', 'b', 'c'],
          task: 'sequence-classification',
          problem: 'single',
        }
        writeFileSync(join(dir, 'lowrank.json'), JSON.stringify(info))
      },
      async read(dir) {
        await readAdapterInfo(dir)
        const base = await loadModel(golden('models/bert-seq'), {
          task: 'sequence-classification',
          labels: ['a', 'b', 'c'],
        })
        try {
          ;(await loadAdapter(base, dir)).detach()
        } finally {
          base.dispose()
        }
      },
    }),
  ),
  checkpoint('lora'),
  checkpoint('adalora'),
  {
    name: 'lock',
    files: ['.lowrank-lock'],
    mutate: mutateJson,
    prepare: dir =>
      writeFileSync(
        join(dir, '.lowrank-lock'),
        JSON.stringify({ pid: 999_999_999, started: '1', machine: machine(), token: 'y' }),
      ),
    read(dir) {
      lockFolder(dir).release()
    },
  },
  {
    name: 'mark of a run',
    files: ['.lowrank-run.json', '.lowrank-next/.lowrank-run.json'],
    mutate: mutateJson,
    prepare(dir) {
      mkdirSync(join(dir, '.lowrank-next'))
      mkdirSync(join(dir, 'adapter'))
      writeFileSync(join(dir, 'adapter/a'), '')
      const mark = {
        format: 'lowrank-run',
        command: 'train',
        names: ['adapter', 'log.jsonl'],
        files: ['adapter/a'],
        done: true,
      }
      for (const at of ['.', '.lowrank-next']) writeFileSync(join(dir, at, '.lowrank-run.json'), JSON.stringify(mark))
    },
    async read(dir) {
      const folder = await RunFolder.open(dir, { command: 'train', overwrite: true, resume: false, inputs: {} })
      await folder.close()
    },
  },
  ...GGUF_READERS,
  ...STUDY_READERS,
  {
    name: 'texts for the terminal',
    files: ['text'],
    mutate: mutateBytes,
    prepare: dir => writeFileSync(join(dir, 'text'), '\x1b[1mbold\x1b[22m \x1b]0;title\x07 plain\n'),
    read(dir) {
      const shown = visible(readFileSync(join(dir, 'text'), 'utf8'), false)
      if (/(?![\n\t])\p{Cc}/u.test(shown)) throw new Error(`a control character is shown: ${JSON.stringify(shown)}`)
    },
  },
]
