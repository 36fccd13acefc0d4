// What data take in memory: npm run bench:data -- [rows]
// Writes a csv file of short texts with two labels, reads and encodes it as train does, and counts what is left.

import { once } from 'node:events'
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { bundled } from '../lib/bundled.ts'
import { labelMap } from '../lib/data/labels.ts'
import { collectRows, openFile } from '../lib/data/open.ts'
import { encodeRows } from '../lib/tasks/encode.ts'
import { loadTokenizer } from '../lib/tokenizer/tokenizer.ts'

/** Bytes that stay in memory, and how much of them token ids are. */
export interface DataMemory {
  readonly rows: number
  readonly tokens: number
  readonly bytesPerRow: number
  /** Beside its row and its ids. */
  readonly bytesPerExample: number
  readonly peakBytes: number
  readonly seconds: number
}

const WORDS = 'the film was good bad long short story of a man who ran home late'.split(' ')

async function writeRows(path: string, rows: number): Promise<void> {
  const file = createWriteStream(path)
  file.write('text,label\n')
  for (let i = 0; i < rows; i++) {
    const words = Array.from({ length: 8 }, (_, k) => WORDS[(i * 7 + k * k + (i >> 3)) % WORDS.length])
    const line = `"${words.join(' ')} ${i}",${i % 3 ? 'positive' : 'negative'}\n`
    if (!file.write(line)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'close')
}

/** Measures so many rows. */
export async function dataMemory(rows: number): Promise<DataMemory> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = (): number => {
    collect()
    collect()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const dir = mkdtempSync(join(tmpdir(), 'lowrank-data-'))
  const tokenizer = await loadTokenizer(bundled.encoder)
  await writeRows(join(dir, 'rows.csv'), rows)
  const started = performance.now()
  const before = used()
  const all = await collectRows(openFile(join(dir, 'rows.csv')).rows())
  const collected = used()
  const task = { task: 'sequence-classification', problem: 'single' } as const
  const labels = labelMap(['negative', 'positive'])
  const spec = { ...task, columns: { text: 'text', label: 'label' }, labels, maxLength: 64 }
  // What the tokenizer remembers of words is its own.
  encodeRows(all.slice(0, 50_000), tokenizer, spec)
  const read = used()
  const { examples } = encodeRows(all, tokenizer, spec)
  const encoded = used()
  rmSync(dir, { recursive: true })
  const tokens = examples.reduce((sum, { ids }) => sum + ids.length, 0)
  return {
    rows: all.length,
    tokens,
    bytesPerRow: (collected - before) / rows,
    bytesPerExample: (encoded - read - 4 * tokens) / rows,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - started) / 1000,
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = await dataMemory(Number(process.argv[2] ?? 1_000_000))
  const { rows, tokens, bytesPerRow, bytesPerExample, peakBytes, seconds } = found
  console.log(`${rows} rows, ${tokens} tokens, ${seconds.toFixed(1)} s`)
  console.log(`a row takes ${bytesPerRow.toFixed(0)} bytes, its text among them`)
  console.log(`its example takes ${bytesPerExample.toFixed(0)} bytes beside its token ids`)
  console.log(`peak of the process: ${(peakBytes / 2 ** 20).toFixed(0)} MiB`)
}
