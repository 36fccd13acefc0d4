// From data settings to rows and examples.

import type { Splits } from '../data/duplicates.ts'
import { type LabelMap, labelMap } from '../data/labels.ts'
import { collectRows, type DataFormat, type OpenOptions, openDataset, openFile } from '../data/open.ts'
import type { Row } from '../data/row.ts'
import { parseFractions, takeRows } from '../data/split.ts'
import { check } from '../errors.ts'
import type { ChatOptions } from '../tasks/chat.ts'
import { type EncodedRows, encodeRows } from '../tasks/encode.ts'
import { strataOf } from '../tasks/infer.ts'
import { type SplitData, type SplitOptions, splitData } from '../tasks/prepare.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Settings } from './options/options.ts'

/** Reader options of a command; `notice` is told about conversions. */
export function openOptions(settings: Settings, notice?: (message: string) => void): OpenOptions {
  const { format, delimiter, encoding } = settings
  return { format: format as DataFormat | undefined, delimiter, encoding, keepTags: true, notice }
}

/** Rows of the splits that training is to use, with task and labels found out. */
export async function readSplits(settings: Settings, able: readonly string[], labels?: LabelMap): Promise<SplitData> {
  const notices: string[] = []
  const notice = (message: string): void => void notices.push(message)
  const options: SplitOptions = {
    ...openOptions(settings, notice),
    task: settings.task as string | undefined,
    able,
    columnNames: settings.columns,
    labels: labels ?? (settings.labels ? labelMap(settings.labels) : undefined),
    fractions: settings.split === undefined ? undefined : parseFractions(settings.split),
    seed: settings.seed,
    duplicates: settings.duplicates as 'report' | 'drop' | 'move',
  }
  const source = settings.train === undefined ? settings.data! : await readFiles(settings, notice)
  const found = await splitData(source, options)
  const splits = settings.rows === undefined ? found.splits : limited(found, settings.rows, settings.seed, notice)
  return { ...found, splits, notices: [...notices, ...found.notices] }
}

async function readFiles(settings: Settings, notice: (message: string) => void): Promise<Partial<Splits>> {
  check(settings.data === undefined, 'ERR_OPTION', () => {
    return `train: "${settings.train}" and data "${settings.data}" are both given; keep one`
  })
  const splits: Partial<Record<keyof Splits, Row[]>> = {}
  for (const name of ['train', 'validation', 'test'] as const) {
    const path = settings[name]
    if (path !== undefined) splits[name] = await collectRows(openFile(path, openOptions(settings, notice)).rows())
  }
  return splits
}

function limited(data: SplitData, rows: number, seed: number, notice: (message: string) => void): Splits {
  const { splits, columns, choice } = data
  const all = splits.train
  if (rows >= all.length) return splits
  const train = takeRows(all, strataOf(all, columns, choice), rows, seed)
  notice(`${train.length} of ${all.length} training rows taken, stratified by seed ${seed}`)
  return { ...splits, train }
}

/** Rows as examples. */
export function encode(
  rows: readonly Row[],
  tokenizer: Tokenizer,
  { choice, columns, labels }: Pick<SplitData, 'choice' | 'columns' | 'labels'>,
  maxLength: number,
  chat: ChatOptions,
): EncodedRows {
  return encodeRows(rows, tokenizer, { ...choice, columns, labels, maxLength, chat })
}

/** How conversations are read, as the settings say; what they leave open is as `trained` says. */
export function chatOf({ template, thinking, turns }: Settings, trained: ChatOptions = {}): ChatOptions {
  const given = Object.entries({ template, thinking, turns }).filter(([, value]) => value !== undefined)
  return { ...trained, ...(Object.fromEntries(given) as ChatOptions) }
}

/** Rows of one file, or of the split of a folder that is to be evaluated. */
export async function readRows(settings: Settings, notice: (message: string) => void): Promise<readonly Row[]> {
  const source = await openDataset(settings.data!, openOptions(settings, notice))
  const wanted = settings.evaluateOn ?? 'auto'
  const split = wanted === 'auto' ? (['test', 'validation', 'train'] as const).find(name => source[name]) : wanted
  const file = source[split as keyof Splits]
  check(file, 'ERR_DATA', () => {
    return `data: ${settings.data} has no ${String(split)} split; it has ${Object.keys(source).join(', ')}`
  })
  return collectRows(file.rows())
}
