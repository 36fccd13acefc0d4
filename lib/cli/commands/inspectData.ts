// `lowrank inspect data`: columns, labels, lengths, truncation and duplicates of a file or of each split of a folder.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bundled } from '../../bundled.ts'
import { conversationText } from '../../data/conversation.ts'
import type { List } from '../../data/list.ts'
import { type DataFile, openDataset } from '../../data/open.ts'
import { itemsIn, type Row } from '../../data/row.ts'
import { storeRows } from '../../data/storedRows.ts'
import { check } from '../../errors.ts'
import { adopted } from '../../tasks/infer.ts'
import { type DataInspection, inspectData } from '../../tasks/inspect.ts'
import { loadTokenizer, type Tokenizer } from '../../tokenizer/tokenizer.ts'
import { must, nth } from '../../tuple.ts'
import { openOptions } from '../data.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'
import { countText, plural, shareText } from '../terminal/format.ts'
import { displayWidth, pad, table } from '../terminal/table.ts'

/** One file, inspected. */
interface FileInspection extends DataInspection {
  readonly path: string
  readonly split: string
  /** Rows longer than this are cut when trained on. */
  readonly maxLength: number
  readonly truncated: number
}

const shownLabels = 40
const defaultLength = 512

/** Prints what is in the data. */
export async function inspectDataCommand(settings: Settings, console: Console): Promise<number> {
  const { tokenizer: own, model, revision } = settings
  const named = own ?? (model !== undefined && revision !== undefined ? `${model}@${revision}` : model)
  const isThere = named !== undefined || existsSync(join(bundled.encoder, 'tokenizer.json'))
  const tokenizer = isThere ? await loadTokenizer(named ?? bundled.encoder) : undefined
  const files = Object.entries(await openDataset(must(settings.data, 'data'), openOptions(settings, console.note)))
  const found: FileInspection[] = []
  for (const [split, file] of files) {
    const inspection = await inspectFile(split, file, settings, tokenizer)
    found.push(inspection)
    if (found.length > 1) console.line()
    show(inspection, console)
    if (inspection.like !== undefined) console.warn(inspection.like)
  }
  console.event({ type: 'summary', tokenizer: tokenizer?.path ?? null, files: found })
  return 0
}

async function inspectFile(
  split: string,
  file: DataFile,
  settings: Settings,
  tokenizer: Tokenizer | undefined,
): Promise<FileInspection> {
  const rows = await storeRows(file.path, firstOf(file.rows(), settings.limit))
  check(rows.length > 0, 'ERR_DATA', () => `data: ${file.path} is empty; it needs at least one row`)
  const notices: string[] = []
  const taken = adopted({ train: rows }, settings.columns, settings.task, text => void notices.push(text))
  const read = taken.splits.train ?? rows
  const found = inspectData(read, { tokenizer, columnNames: taken.given, task: settings.task })
  const maxLength = settings.maxLength ?? Math.min(defaultLength, tokenizer?.modelMaxLength ?? defaultLength)
  const told = notices.length === 0 ? {} : { notices }
  return { ...found, ...told, path: file.path, split, maxLength, truncated: longer(found, read, tokenizer, maxLength) }
}

async function* firstOf(rows: AsyncIterable<Row>, limit = Number.POSITIVE_INFINITY): AsyncGenerator<Row> {
  let count = 0
  for await (const row of rows) {
    yield row
    if (++count === limit) return
  }
}

/** How many rows have more tokens than `maxLength`; 0 where lengths are not in tokens. */
function longer({ roles }: DataInspection, rows: List<Row>, tokenizer: Tokenizer | undefined, maxLength: number) {
  if (!tokenizer) return 0
  return rows.filter(row => {
    const { values } = row
    if (roles.tokens !== undefined)
      return tokenizer.encodeWords(itemsIn(row, roles.tokens).map(String), { maxLength }).truncated
    const pair = roles.text2 === undefined ? undefined : String(values[roles.text2])
    const text = roles.text === undefined ? conversationText(row, roles) : String(values[roles.text])
    return tokenizer.encode(text, { pair, maxLength }).truncated
  }).length
}

function show(found: FileInspection, console: Console): void {
  const { lengths, choice, notices = [] } = found
  for (const notice of notices) console.note(notice)
  console.line(`${found.path}: ${plural(found.rows, 'row')}, ${plural(found.duplicates, 'repeated text')}`)
  if (!choice) console.line(`no task: ${console.named(must(found.problem, 'problem'))}`)
  else console.line(`${choice.task}${choice.problem ? `, ${choice.problem}` : ''}: ${choice.reason}`)
  console.line()
  const roles = new Map(Object.entries(found.roles).map(([part, name]) => [name, part]))
  const columns = found.columns.map(({ name, types, missing, example }) => {
    return [
      name,
      roles.get(name) ?? '',
      Object.keys(types).join(' or '),
      missing > 0 ? countText(missing) : '',
      example,
    ]
  })
  const headings = [
    { header: 'column' },
    { header: 'part' },
    { header: 'type' },
    { header: 'missing' },
    { header: 'first' },
  ]
  console.line(table(headings, columns, { width: console.columns }))
  if (found.labels.length > 0) showLabels(found, console)
  console.line()
  const { min, median, p95, max, unit } = lengths
  console.line(`${unit} a row: ${min} to ${max}, median ${median}, 95 % have at most ${p95}`)
  for (const line of histogram(found)) console.line(line)
  if (unit === 'tokens') {
    const share = shareText(found.truncated / found.rows)
    console.line(`${plural(found.truncated, 'row')} (${share}) would be cut at ${found.maxLength} (--max-length)`)
  }
}

function showLabels({ labels, scheme }: FileInspection, console: Console): void {
  console.line()
  if (scheme && scheme !== 'none') console.line(`tags follow ${scheme}`)
  const rows = labels
    .slice(0, shownLabels)
    .map(({ label, count, share }) => [label, countText(count), shareText(share)])
  console.line(table([{ header: 'label' }, { header: 'count', align: 'right' }, { header: '', align: 'right' }], rows))
  if (labels.length > shownLabels) console.line(`and ${labels.length - shownLabels} more`)
}

/** Bars of the length histogram, 40 cells at most. */
function histogram({ lengths }: FileInspection): string[] {
  const most = Math.max(...lengths.histogram.map(({ count }) => count), 1)
  const names = lengths.histogram.map(({ from, to }) => (to - from === 1 ? `${from}` : `${from}–${to - 1}`))
  const width = Math.max(...names.map(displayWidth), 0)
  return lengths.histogram.map(({ count }, i) => {
    const bar = '█'.repeat(Math.round((40 * count) / most)) || (count > 0 ? '▏' : '')
    return `  ${pad(nth(names, i), width, 'right')}  ${bar}${bar === '' ? '' : ' '}${countText(count)}`
  })
}
