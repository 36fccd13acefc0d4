// From data settings to rows and examples.

import { basename, extname, resolve } from 'node:path'
import { SPLITS, type Splits } from '../data/duplicates.ts'
import { type LabelMap, labelMap } from '../data/labels.ts'
import type { List } from '../data/list.ts'
import { type OpenOptions, openDataset, openFile } from '../data/open.ts'
import type { Row } from '../data/row.ts'
import { parseFractions } from '../data/split.ts'
import { storeRows } from '../data/storedRows.ts'
import { check } from '../errors.ts'
import { type Say, sayWith } from '../generate/answers.ts'
import { inTurns } from '../io/turn.ts'
import { type EncodedRows, encoding } from '../tasks/encode.ts'
import { taskValues } from '../tasks/options.ts'
import { type SplitData, type SplitOptions, splitData } from '../tasks/prepare.ts'
import type { Task, TaskValues } from '../tasks/task.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must } from '../tuple.ts'
import type { Settings } from './options/options.ts'

/** The folder that a command writes where none is named. */
export function defaultOut({ data, train }: Settings, command = ''): string {
  const path = resolve(data ?? must(train, 'train')).replace(/\.gz$/i, '')
  return ['lowrank', ...(command ? [command] : []), basename(path, extname(path))].join('-')
}

/** Reader options of a command; `notice` is told about conversions. */
export function openOptions(settings: Settings, notice?: (message: string) => void): OpenOptions {
  const { format, delimiter, encoding } = settings
  return { format, delimiter, encoding, keepTags: true, notice }
}

/** Rows of the splits that training is to use, with task and labels found out. */
export async function readSplits(settings: Settings, able: readonly string[], labels?: LabelMap): Promise<SplitData> {
  const notices: string[] = []
  const notice = (message: string): void => void notices.push(message)
  const options: SplitOptions = {
    ...openOptions(settings, notice),
    task: settings.task,
    able,
    columnNames: settings.columns,
    labels: labels ?? (settings.labels ? labelMap(settings.labels) : undefined),
    fractions: settings.split === undefined ? undefined : parseFractions(settings.split),
    seed: settings.seed,
    duplicates: settings.duplicates,
    rows: settings.rows,
  }
  const source = settings.train === undefined ? must(settings.data, 'data') : await readFiles(settings, notice)
  const found = await splitData(source, options)
  return { ...found, notices: [...notices, ...found.notices] }
}

async function readFiles(settings: Settings, notice: (message: string) => void): Promise<Partial<Splits>> {
  check(settings.data === undefined, 'ERR_OPTION', () => {
    return `train: "${settings.train}" and data "${settings.data}" are both given; keep one`
  })
  const splits: Partial<Record<keyof Splits, List<Row>>> = {}
  for (const name of SPLITS) {
    const path = settings[name]
    if (path !== undefined) splits[name] = await storeRows(path, openFile(path, openOptions(settings, notice)).rows())
  }
  return splits
}

type Read = Pick<SplitData, 'choice' | 'columns' | 'labels'>

/** How rows of these data become examples. */
export function specOf({ choice, columns, labels }: Read, maxLength: number, taskOptions: TaskValues) {
  return { ...choice, columns, labels, maxLength, taskOptions }
}

/** Rows as examples. */
export function encode(
  rows: List<Row>,
  tokenizer: Tokenizer,
  data: Read,
  maxLength: number,
  taskOptions: TaskValues,
): Promise<EncodedRows> {
  return inTurns(encoding(rows, tokenizer, specOf(data, maxLength, taskOptions)))
}

/** Answers in words, where they are asked for. @throws ERR_OPTION for a task that has none */
export function sayFor(task: Task, tokenizer: Tokenizer, settings: Settings): Say | undefined {
  const { generateRows: rows, maxNewTokens, evalBatchSize: batchSize } = settings
  if (rows === 0) return undefined
  check(task.says, 'ERR_OPTION', () => `generateRows: a ${task.title} says nothing in words; leave it out`)
  return sayWith(tokenizer, { rows, maxNewTokens, batchSize })
}

/** Options of a task as the settings say; what they leave open is as `trained` says. */
export function optionsFor(task: Task, settings: Settings, trained: TaskValues = {}): TaskValues {
  return { ...trained, ...taskValues(task, settings) }
}

/** Rows of one file, or of the split of a folder that is to be evaluated. */
export async function readRows(settings: Settings, notice: (message: string) => void): Promise<List<Row>> {
  const source = await openDataset(must(settings.data, 'data'), openOptions(settings, notice))
  const { evaluateOn: wanted } = settings
  const split = wanted === 'auto' ? (['test', 'validation', 'train'] as const).find(name => source[name]) : wanted
  const file = split && source[split]
  check(file, 'ERR_DATA', () => {
    return `data: ${settings.data} has no ${String(split)} split; it has ${Object.keys(source).join(', ')}`
  })
  return storeRows(file.path, file.rows())
}
