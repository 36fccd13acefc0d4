// Makes assets/sample: definitions of WordNet nouns and the topic (lexicographer file) each belongs to.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { check } from '../../lib/errors.ts'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { NearDuplicates, SHORTEST } from './duplicates.ts'
import { shuffled } from './random.ts'
import { openSource, textOf } from './sources.ts'
import { normalised, words } from './text.ts'
import { type Synset, synsets } from './wordnet.ts'

/** One row of the sample. */
export interface Row {
  readonly text: string
  readonly label: string
}

export const SPLITS = ['train', 'validation', 'test'] as const
export type Split = (typeof SPLITS)[number]

/** Rows per split. */
export const ROWS: Record<Split, number> = { train: 8000, validation: 1000, test: 2000 }

/** The 25 topics, in the order of WordNet's lexicographer files 4 to 28 (lexnames(5WN)). */
export const TOPICS = [
  'act',
  'animal',
  'artifact',
  'attribute',
  'body',
  'cognition',
  'communication',
  'event',
  'feeling',
  'food',
  'group',
  'location',
  'motive',
  'object',
  'person',
  'phenomenon',
  'plant',
  'possession',
  'process',
  'quantity',
  'relation',
  'shape',
  'state',
  'substance',
  'time',
] as const

const FIRST_FILE = 4
const LONGEST = 40
const SEED = 2024
const FOLDER = fileURLToPath(new URL('../../assets/sample/', import.meta.url))

/** The rows of one split as committed. */
export function readSample(split: Split): Row[] {
  const lines = readFileSync(join(FOLDER, `${split}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
  return lines.map(line => JSON.parse(line) as Row)
}

/** Makes the three splits from the noun glosses; the same package gives the same rows. */
export function makeSample(nouns: readonly Synset[]): Record<Split, Row[]> {
  const perTopic = capped(distinct(candidates(nouns)), ROWS.train + ROWS.validation + ROWS.test)
  const splits: Record<Split, Row[]> = { train: [], validation: [], test: [] }
  const sizes = perTopic.map(rows => rows.length)
  const testRows = apportion(sizes, ROWS.test)
  const validationRows = apportion(sizes, ROWS.validation)
  for (const [i, rows] of perTopic.entries()) {
    const test = testRows[i]!
    const held = test + validationRows[i]!
    splits.test.push(...rows.slice(0, test))
    splits.validation.push(...rows.slice(test, held))
    splits.train.push(...rows.slice(held))
  }
  for (const [i, split] of SPLITS.entries()) splits[split] = shuffled(splits[split], SEED + 1 + i)
  return splits
}

/** Definitions of a usable length that stand for one topic only; of equal definitions the first. */
function candidates(nouns: readonly Synset[]): Row[] {
  const byText = new Map<string, Row | undefined>()
  for (const { file, definition } of nouns) {
    const label = TOPICS[file - FIRST_FILE]
    const length = words(definition).length
    if (label === undefined || length < SHORTEST || length > LONGEST) continue
    const key = normalised(definition)
    const known = byText.get(key)
    if (!byText.has(key)) byText.set(key, { text: definition, label })
    else if (known && known.label !== label) byText.set(key, undefined)
  }
  return [...byText.values()].filter(row => row !== undefined)
}

/** Leaves out what nearly equals an earlier row, after a seeded shuffle. */
function distinct(rows: readonly Row[]): Row[] {
  const known = new NearDuplicates(rows.map(row => row.text))
  return shuffled(rows, SEED).filter(row => {
    if (known.has(row.text)) return false
    known.add(row.text)
    return true
  })
}

/** Rows per topic under the one cap that gives `total` rows; the topics' order breaks the remainder. */
function capped(rows: readonly Row[], total: number): Row[][] {
  check(rows.length >= total, 'ERR_DATA', () => `sample: ${rows.length} distinct rows for ${total}`)
  const groups = TOPICS.map(topic => rows.filter(row => row.label === topic))
  const size = (cap: number) => groups.reduce((sum, group) => sum + Math.min(group.length, cap), 0)
  let cap = 1
  while (size(cap + 1) <= total) cap++
  let left = total - size(cap)
  return groups.map(group => group.slice(0, group.length > cap && left-- > 0 ? cap + 1 : cap))
}

/** Whole shares of `total` in proportion to `sizes`: largest remainders. */
export function apportion(sizes: readonly number[], total: number): number[] {
  const all = sizes.reduce((sum, size) => sum + size, 0)
  const exact = sizes.map(size => (size * total) / all)
  const shares = exact.map(Math.floor)
  const order = exact.map((share, i) => ({ i, rest: share - Math.floor(share) }))
  order.sort((a, b) => b.rest - a.rest || a.i - b.i)
  const missing = total - shares.reduce((sum, share) => sum + share, 0)
  for (const { i } of order.slice(0, missing)) shares[i]!++
  return shares
}

async function main(): Promise<void> {
  const splits = makeSample(synsets('noun'))
  for (const split of SPLITS) {
    const body = splits[split].map(row => `${JSON.stringify({ text: row.text, label: row.label })}\n`).join('')
    await writeFileAtomic(join(FOLDER, `${split}.jsonl`), body)
    console.log(`${split}: ${splits[split].length} rows, ${Buffer.byteLength(body)} bytes`)
  }
  await writeFileAtomic(join(FOLDER, 'LICENCE'), licence())
  for (const topic of TOPICS)
    console.log(
      topic.padEnd(14),
      ...SPLITS.map(s => String(splits[s].filter(r => r.label === topic).length).padStart(5)),
    )
}

/** The licence as printed at the head of WordNet's own data files (the package's LICENSE is that of release 3.0). */
function licence(): string {
  const head = textOf(openSource('wordnet'), 'dict/data.noun').split('\n')
  return head
    .filter(line => /^ {2}\d+ /.test(line))
    .map(line => `${line.replace(/^ {2}\d+ /, '').trimEnd()}\n`)
    .join('')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
