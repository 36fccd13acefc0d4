// What data take in memory: npm run bench:data -- [rows] [csv | jsonl]
// Writes a file of short texts with two labels, or of prompts with completions, reads it as train does, plans an epoch
// and makes some of its steps; and counts what is left.

import { once } from 'node:events'
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { bundled } from '../lib/bundled.ts'
import { batches } from '../lib/data/batches.ts'
import { tokensOf } from '../lib/data/example.ts'
import { labelMap } from '../lib/data/labels.ts'
import { openFile } from '../lib/data/open.ts'
import { storeRows } from '../lib/data/storedRows.ts'
import { nextTokens, sequenceClasses } from '../lib/data/targets.ts'
import { encodeRows } from '../lib/tasks/encode.ts'
import { prepareData } from '../lib/tasks/prepare.ts'
import { loadTokenizer } from '../lib/tokenizer/tokenizer.ts'

/** Layouts that are written: classes in a table, or prompts with completions. */
export type Kind = 'csv' | 'jsonl'

/** Bytes that stay in memory of a row, and of an example beside its row and its ids. */
export interface DataMemory {
  readonly rows: number
  readonly tokens: number
  readonly bytesPerRow: number
  readonly bytesPerExample: number
}

/** What the whole of `prepareData` and an epoch take. */
export interface PreparedMemory {
  readonly examples: number
  /** What stays of a row, be it in how many lists. */
  readonly bytesPerRow: number
  readonly heapBytes: number
  readonly peakBytes: number
  readonly prepareSeconds: number
  /** Of a step of 32 examples, read and packed. */
  readonly stepSeconds: number
}

const WORDS = 'the film was good bad long short story of a man who ran home late'.split(' ')
const MAX_LENGTH = 64

function lineOf(i: number, kind: Kind): string {
  const words = Array.from({ length: 8 }, (_, k) => WORDS[(i * 7 + k * k + (i >> 3)) % WORDS.length]).join(' ')
  if (kind === 'csv') return `"${words} ${i}",${i % 3 ? 'positive' : 'negative'}\n`
  return `${JSON.stringify({ prompt: `${words}?`, completion: `it is ${i}` })}\n`
}

/** Writes so many rows into a new folder, hands the file over, and removes them. */
async function withRows<T>(rows: number, kind: Kind, use: (path: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'lowrank-data-'))
  try {
    const path = join(dir, `rows.${kind}`)
    const file = createWriteStream(path)
    if (kind === 'csv') file.write('text,label\n')
    for (let i = 0; i < rows; i++) if (!file.write(lineOf(i, kind))) await once(file, 'drain')
    file.end()
    await once(file, 'close')
    return await use(path)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** Bytes in use after everything that nobody holds is gone. */
function usedBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Measures rows and examples of a table, one after the other. */
export async function dataMemory(rows: number): Promise<DataMemory> {
  const tokenizer = await loadTokenizer(bundled.encoder)
  return withRows(rows, 'csv', async path => {
    const before = usedBytes()
    const all = await storeRows(path, openFile(path).rows())
    const collected = usedBytes()
    const task = { task: 'sequence-classification', problem: 'single' } as const
    const labels = labelMap(['negative', 'positive'])
    const spec = { ...task, columns: { text: 'text', label: 'label' }, labels, maxLength: MAX_LENGTH }
    // What the tokenizer remembers of words is its own.
    encodeRows(all.slice(0, 50_000), tokenizer, spec)
    const read = usedBytes()
    const { examples } = encodeRows(all, tokenizer, spec)
    const encoded = usedBytes()
    const tokens = tokensOf(examples)
    return {
      rows: all.length,
      tokens,
      bytesPerRow: (collected - before) / rows,
      bytesPerExample: (encoded - read - 4 * tokens) / rows,
    }
  })
}

const STEPS = 200

/** Measures all that stands between a file and its training. */
export async function preparedMemory(rows: number, kind: Kind): Promise<PreparedMemory> {
  const tokenizer = await loadTokenizer(bundled.encoder)
  return withRows(rows, kind, async path => {
    const before = usedBytes()
    const started = performance.now()
    const task = kind === 'csv' ? 'sequence-classification' : 'causal-lm'
    const data = await prepareData(path, tokenizer, { task, maxLength: MAX_LENGTH })
    const prepared = performance.now()
    const collate = kind === 'csv' ? sequenceClasses : nextTokens
    const epoch = batches(data.train.examples, { batchSize: 32, shuffle: true, collate })
    const planned = performance.now()
    const count = Math.min(STEPS, epoch.length)
    for (let k = 0; k < count; k++) epoch.at(k)
    const stepSeconds = (performance.now() - planned) / 1000 / count
    const { peakBytes, heapBytes } = { peakBytes: process.resourceUsage().maxRSS * 1024, heapBytes: usedBytes() }
    const examples = data.train.examples.length + data.validation.examples.length + data.test.examples.length
    const bytesPerRow = (heapBytes - before) / rows
    return { examples, bytesPerRow, heapBytes, peakBytes, prepareSeconds: (prepared - started) / 1000, stepSeconds }
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [rows, kind] = [Number(process.argv[2] ?? 1_000_000), process.argv[3] === 'jsonl' ? 'jsonl' : 'csv'] as const
  const whole = await preparedMemory(rows, kind)
  const [heap, peak] = [whole.heapBytes, whole.peakBytes].map(bytes => `${(bytes / 2 ** 20).toFixed(0)} MiB`)
  console.log(`${whole.examples} examples of ${rows} rows in ${whole.prepareSeconds.toFixed(0)} s, in a ${kind} file`)
  console.log(
    `a row takes ${whole.bytesPerRow.toFixed(0)} bytes of memory, ${heap} in all; the process ${peak} at most`,
  )
  console.log(`a step of 32 examples is read and packed in ${(1000 * whole.stepSeconds).toFixed(2)} ms`)
  if (kind === 'csv') {
    const { bytesPerRow, bytesPerExample } = await dataMemory(Math.min(rows, 200_000))
    console.log(`few enough for memory, a row takes ${bytesPerRow.toFixed(0)} bytes, its text among them,`)
    console.log(`and its example ${bytesPerExample.toFixed(0)} bytes beside its token ids`)
  }
}
